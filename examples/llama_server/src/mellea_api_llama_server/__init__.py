"""A llama.cpp server as a backend: a server that speaks OpenAI's protocol is one declaration."""

from mellea_api.plugin import OpenAICompatible

LLAMA_CPP = OpenAICompatible(
    name="llama-server",
    summary="The model that a llama.cpp server has loaded",
    base_url="http://127.0.0.1:8080/v1",
    base_url_variables="LLAMA_CPP_URL",
    key="LLAMA_API_KEY",
    server="llama.cpp",
    probe_path="/props",
    start_hint="Start it with `llama-server -m MODEL.gguf`, or let LLAMA_CPP_URL name another.",
)
