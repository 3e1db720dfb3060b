"""The llama.cpp backend of mellea-api: a language model inside the process.

The entry point names the constant `LLAMACPP`. `options` says how a model is loaded, `models` finds
its file and reads the header, `engine` loads it, and `session` has the hooks. The engine speaks
OpenAI's protocol, so that everything else is the core's.
"""

from mellea_api.plugin import OpenAICompatible
from mellea_api_llamacpp.models import CATALOGUE, DEFAULT
from mellea_api_llamacpp.options import RULES, SETTINGS

__all__ = ["LLAMACPP"]

LLAMACPP = OpenAICompatible(
    name="llamacpp",
    summary="A language model inside the process, by llama.cpp",
    implementation="mellea_api_llamacpp.session",
    sdk=("openai", "httpx", "xllamacpp", "huggingface_hub"),
    tested={"xllamacpp": "2026.10.11549", "huggingface-hub": "2.4.0", "openai": "3.57.0"},
    server="llama.cpp",
    default_model=DEFAULT,
    models=CATALOGUE,
    options=RULES,
    settings=SETTINGS,
    start_hint="Start another session.",
    model_hint="Give the path of a GGUF file, owner/repo:file of Hugging Face, or 'smollm2'.",
)
