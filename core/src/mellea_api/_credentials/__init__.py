"""Credentials: where they come from, what is wrong with them, and what is reported of them.

`sources` has the one order in which places are looked at, `files` and `system_keyring` read two of
them, `forms` knows a value that cannot be right without asking anybody, and `reporting` says what
was found. No SDK, no Mellea and no network here; the keyring is asked only for a named backend.
"""

from __future__ import annotations

from mellea_api._credentials.reporting import (
    accepted,
    failed,
    is_required,
    malformed_error,
    missing_error,
    report_from_fields,
    require,
    unchecked,
)
from mellea_api._credentials.sources import (
    Found,
    findings,
    from_arguments,
    from_token_file,
    look,
    look_up,
    values,
)

__all__ = [
    "Found",
    "accepted",
    "failed",
    "findings",
    "from_arguments",
    "from_token_file",
    "is_required",
    "look",
    "look_up",
    "malformed_error",
    "missing_error",
    "report_from_fields",
    "require",
    "unchecked",
    "values",
]
