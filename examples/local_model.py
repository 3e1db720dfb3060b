"""A language model inside this process: no server, no key. `tools/demo.py` runs this."""

import time

from mellea_api import list_models, start_session, stream_chat

QUESTIONS = (
    "What is 2+2?",
    "What's the capital of France? Answer in one sentence.",
    "Write a short greeting for a colleague named Ada.",
)


def main() -> None:
    """Ask a few questions, and print the answers as they come."""
    began = time.monotonic()
    session = start_session("llamacpp", model_options={"temperature": 0, "max_tokens": 60})
    (model,) = (model for model in list_models("llamacpp") if model.default)
    print(f"Loaded {model.id} ({model.description}) in {time.monotonic() - began:.1f} s.")
    began, pieces = time.monotonic(), 0
    for question in QUESTIONS:
        print(f"\n> {question}")
        for piece in stream_chat(session, question):
            print(piece, end="", flush=True)
            pieces += 1
        print()
    taken = time.monotonic() - began
    print(
        f"\n{model.id} has {model.size} parameters. It wrote some {pieces} tokens in {taken:.1f} s,"
        f" {pieces / taken:.0f} a second.\nA model of 3 billion parameters in 4 bits needs about"
        " 2.5 GB of memory, and one of 8 billion about 6 GB: give model_id= the path of its GGUF"
        " file, or owner/repo:file of Hugging Face."
    )


if __name__ == "__main__":
    main()
