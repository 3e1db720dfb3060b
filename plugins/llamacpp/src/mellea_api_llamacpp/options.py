"""How a model is loaded; what becomes of a call's options is the core's business."""

from __future__ import annotations

from typing import Final

from mellea_api.plugin import OptionRule, Setting

SETTINGS: Final = (
    Setting(
        name="context_window",
        type="integer",
        help="Tokens that each call can see; by default the model's, at most 8,192.",
    ),
    Setting(
        name="parallel",
        type="integer",
        default=1,
        help="Calls that generate at once; more of them wait.",
    ),
    Setting(
        name="threads",
        type="integer",
        help="Threads of the engine; by default the cores that this process may use.",
    ),
    Setting(
        name="gpu_layers",
        type="integer",
        default=-1,
        help="Layers of the model on the GPU; -1 for all.",
    ),
)
"""The arguments of `start_session`: sessions that agree in them share one loaded model."""

RULES: Final = OptionRule.refused(
    "context_window",
    "the model is loaded with it: give context_window= to start_session",
    reserved=True,
    source="llama.cpp, tools/server/README.md, --ctx-size",
)
"""What stands before the rules of llama.cpp's dialect."""
