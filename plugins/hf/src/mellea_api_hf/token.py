"""The token that huggingface_hub would use, found without importing it.

It reads `HF_TOKEN`, then the file that `hf auth login` writes (huggingface_hub 0.36 and 1.33,
`constants.py` and `utils/_auth.py`).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from mellea_api import Secret

__all__ = ["VARIABLES", "from_file", "stored_token", "token_path"]

VARIABLES: Final = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
"""The variables that huggingface_hub looks at, in its order."""

_FILE: Final = "file "


def token_path() -> Path:
    """Return where huggingface_hub keeps the token: `HF_TOKEN_PATH`, else below `HF_HOME`."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    home = os.environ.get("HF_HOME") or Path(cache) / "huggingface"
    path = os.environ.get("HF_TOKEN_PATH") or Path(home) / "token"
    return Path(os.path.expandvars(path)).expanduser()


def stored_token() -> Secret | None:
    """Return the token in the file, or None where there is none that can be read."""
    path = token_path()
    try:
        text = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return Secret(text, source=f"{_FILE}{path}") if text else None


def from_file(secret: Secret) -> bool:
    """Return whether a token came from the file.

    huggingface_hub then best reads it itself: it renews the ones that expire.
    """
    return secret.source.startswith(_FILE)
