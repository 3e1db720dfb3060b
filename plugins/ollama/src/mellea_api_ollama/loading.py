"""The Ollama SDK, imported also where the environment has a value that it cannot read.

As it is imported it makes an HTTP client for its own shortcuts, which nobody here uses. That
client reads `OLLAMA_HOST` and the variables of certificates and proxies there and then. A wrong
value is an error of the session whose own client reads it, not one of every import.
"""

from __future__ import annotations

import os

__all__ = ["ollama"]

try:
    import ollama
except Exception:
    _hidden = {
        name: os.environ.pop(name)
        for name in list(os.environ)
        if name == "OLLAMA_HOST" or name.startswith("SSL_CERT_") or name.lower().endswith("_proxy")
    }
    if not _hidden:
        raise
    try:
        import ollama
    finally:
        os.environ.update(_hidden)
