"""Find the address of a backend's server: the argument, the environment, or the default."""

from __future__ import annotations

import os
import re
from typing import Any, Final
from urllib.parse import urlsplit

from mellea_api._contract.descriptor import BackendDescriptor
from mellea_api._contract.errors import ConfigurationError
from mellea_api._secrecy.secrets import redact
from mellea_api._secrecy.veil import hide, plain

_PERHAPS_USER: Final = re.compile(r"^(\w*:?/{1,2})?.*@", re.DOTALL)
"""Everything that may be a user, in an address that cannot be parsed."""
_NO_SCHEME: Final = re.compile(r"https?:?/", re.IGNORECASE)
_ENCODE: Final = (
    "a user and a password before the @ must have their other characters encoded, such as / as "
    "%2F, ? as %3F, # as %23 and @ as %40"
)


def find_address(descriptor: BackendDescriptor, given: Any) -> tuple[str | None, str]:
    """Return a server's address, and where it came from.

    Args:
        descriptor: The backend.
        given: The argument `base_url`, which may be hidden; None to read the environment.

    Returns:
        The address as the user wrote it, or None for the backend's default; and its source:
        `argument`, the name of a variable, or `default`.

    Raises:
        ConfigurationError: If the address cannot be right, or the backend calls no server.
    """
    source, address = "argument", hide(given)
    if given is None:
        for variable in descriptor.base_url_variables:
            if os.environ.get(variable, "").strip():
                source, address = variable, hide(os.environ[variable])
                break
        else:
            return None, "default"
    elif not descriptor.base_url_variables and descriptor.base_url is None:
        raise ConfigurationError(
            f"Cannot use base_url={_perhaps(given)!r:.200}: the {descriptor.name} "
            "backend calls no server.",
            next_step="Leave base_url out.",
            backend=descriptor.name,
        )
    if isinstance(plain(address), int | float | bytes):
        problem: str | None = "it is not text"
    else:
        problem = _problem(str(plain(address)).strip(), full=descriptor.full_base_url)
    if problem is None:
        return str(plain(address)).strip(), source
    name = "base_url" if source == "argument" else source
    raise ConfigurationError(
        f"Cannot use {name}={_perhaps(address)!r:.200} for the {descriptor.name} backend: "
        f"{problem}.",
        next_step="Give the server's address as text, such as "
        f"{descriptor.base_url or 'http://127.0.0.1:8000/v1'}.",
        backend=descriptor.name,
        variable=None if source == "argument" else source,
    )


def _perhaps(address: Any) -> str:
    """Return an unusable address without what may be a user and a password."""
    return redact(_PERHAPS_USER.sub(r"\1[secret]@", str(plain(address)).strip()))


def _problem(address: str, *, full: bool) -> str | None:
    """Return what is wrong with an address; one that is not `full` may lack scheme and host."""
    if not address:
        return "it is empty"
    if "://" not in address and _NO_SCHEME.match(address):
        return "there is no :// behind http or https"
    user = "@" in address
    # urlsplit() silently removes such characters.
    if not address.isprintable() or " " in address:
        return f"it has white space in it{f'; {_ENCODE}' if user else ''}"
    try:
        parts = urlsplit(address if "://" in address else f"//{address}")
        _, host = parts.port, parts.hostname
    except ValueError as error:  # its text has a piece of the address
        return _ENCODE if user else f"{error}".rstrip(".")
    # Such as http://to/ken@host, whose host is "to". Some have names with an @ in their paths.
    behind = f"{parts.path}?{parts.query}#{parts.fragment}"
    if re.search(r"[^/]@", behind) or re.search(r"['\"]", parts.netloc):
        return _ENCODE
    if parts.scheme not in ("", "http", "https"):
        return f"{parts.scheme} is not http or https"
    if not parts.scheme and (full or "://" in address):  # quotes around it, say
        return "it does not begin with http:// or https://"
    if full and not host:
        return "it names no host"
    if parts.query or parts.fragment:
        # SDKs write the path behind it, or leave it out.
        return "there is a query in it; a setting takes that: default_query={...}"
    return None
