"""The llama.cpp backend of mellea-api: a language model inside the process.

The entry point names the constant `LLAMACPP`. `models` finds the file of a model and reads its
header, `engine` loads it, and `session` has the hooks. The engine speaks OpenAI's protocol, so that
everything else is the core's.
"""

from mellea_api.plugin import OpenAICompatible, OptionRule, Setting
from mellea_api_llamacpp.models import CATALOGUE, DEFAULT

__all__ = ["LLAMACPP"]

LLAMACPP = OpenAICompatible(
    name="llamacpp",
    summary="A language model inside the process, by llama.cpp",
    implementation="mellea_api_llamacpp.session",
    sdk=("openai", "httpx", "xllamacpp", "huggingface_hub"),
    tested={"xllamacpp": "2026.10.11549", "huggingface_hub": "1.32.0", "openai": "3.57.0"},
    server="llama.cpp",
    default_model=DEFAULT,
    models=CATALOGUE,
    options=OptionRule.refused(
        "context_window",
        "the model is loaded with it: give context_window= to start_session",
        reserved=True,
        source="llama.cpp, tools/server/README.md, --ctx-size",
    ),
    settings=(
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
    ),
    start_hint="Start another session.",
    model_hint="Give the path of a GGUF file, owner/repo:file of Hugging Face, or 'smollm2'.",
)
