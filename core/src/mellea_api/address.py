"""Where a backend's server is: an argument, the environment, then the backend's default."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from mellea_api.descriptor import BackendDescriptor
from mellea_api.errors import ConfigurationError

__all__ = ["find_address", "shown_address"]

_USER: Final = re.compile(r"(^|//)[^/@\s'\"]+@")


def shown_address(address: str) -> str:
    """Return a text with an address in it as others may see it: without user and password.

    >>> shown_address("http://me:secret@127.0.0.1:8000/v1")
    'http://[secret]@127.0.0.1:8000/v1'
    """
    return _USER.sub(r"\1[secret]@", address)


def find_address(
    descriptor: BackendDescriptor, given: Any, environ: Mapping[str, str]
) -> tuple[str | None, str]:
    """Return a server's address, and where it came from.

    Args:
        descriptor: The backend.
        given: The argument `base_url`; None to look further.
        environ: The environment.

    Returns:
        The address as it was written, None for the backend's default; and `argument`, the name
        of a variable, or `default`.

    Raises:
        ConfigurationError: If nothing could be at such an address, and names the variable; or
            if the backend calls no server.
    """
    source, address = "argument", given
    if given is None:
        for variable in descriptor.base_url_variables:
            if environ.get(variable, "").strip():
                source, address = variable, environ[variable]
                break
        else:
            return None, "default"
    elif not descriptor.base_url_variables and descriptor.default_base_url is None:
        raise ConfigurationError(
            f"Cannot use base_url={shown_address(str(given))!r:.200}: the {descriptor.name} "
            "backend calls no server.",
            next_step="Leave base_url out.",
            backend=descriptor.name,
        )
    address = str(address).strip()
    problem = _problem(address)
    if problem is None:
        return address, source
    name = "base_url" if source == "argument" else source
    raise ConfigurationError(
        f"Cannot use {name}={shown_address(address)!r:.200} for the {descriptor.name} backend: "
        f"{problem}.",
        next_step="Give the server's address as text, such as "
        f"{descriptor.default_base_url or 'http://127.0.0.1:8000/v1'}.",
        backend=descriptor.name,
        variable=None if source == "argument" else source,
    )


def _problem(address: str) -> str | None:
    """Return what is wrong with an address: a URL, or one without a scheme."""
    if not address:
        return "it is empty"
    # urlsplit() takes such characters out without a word.
    if not address.isprintable() or " " in address:
        return "it has white space in it"
    try:
        parts = urlsplit(address if "://" in address else f"//{address}")
        _ = parts.port, parts.hostname
    except ValueError as error:
        return f"{error}".rstrip(".")
    if parts.scheme not in ("", "http", "https"):
        return f"{parts.scheme} is not http or https"
    return None
