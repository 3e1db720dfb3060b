"""The Ollama SDK, imported also where `OLLAMA_HOST` holds nothing that it can read.

As it is imported it makes a client for its own shortcuts, and so reads the variable there and
then: what is wrong with that, be it white space at its end, would be an error of every import,
whatever address a session is given. Nobody here uses that client.
"""

from __future__ import annotations

import os

__all__ = ["ollama"]

try:
    import ollama
except Exception:
    _host = os.environ.pop("OLLAMA_HOST", None)
    if _host is None:
        raise
    try:
        import ollama
    finally:
        os.environ["OLLAMA_HOST"] = _host
