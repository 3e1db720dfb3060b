"""A loopback provider with instant answers, in a process of its own.

`python server.py ollama` or `openai`: the strict server of the tests; `failing` answers each call
with status 500, and `large` with what `loop.py` measures. It prints its address and serves until
its input ends.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))


def main(provider: str) -> None:
    """Serves."""
    if provider == "large":
        import loop
        from support.http import LoopbackServer
        from support.messages import Recorded, Reply

        class Large(LoopbackServer):
            def handle(self, request: Recorded) -> Reply:
                return Reply(**loop.answer(request.path))

        with Large() as large:
            print(large.url, flush=True)
            sys.stdin.read()
        return
    if provider == "failing":
        from support import faults

        with faults.named("status_500") as url:
            print(url, flush=True)
            sys.stdin.read()
        return
    from support.ollama_server import OllamaServer
    from support.openai_server import OpenAIServer

    with OllamaServer(("tiny", "small")) if provider == "ollama" else OpenAIServer() as server:
        print(server.base_url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1])
