"""What the environment says of certificates and proxies, where no HTTP client can be made with it.

Every SDK's client reads these variables, and each says in its own way that it stumbled over them;
none names the variable. As a rule it is a file that a container lacks.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from mellea_api._contract.errors import ConfigurationError
from mellea_api._secrecy.secrets import redact
from mellea_api._secrecy.veil import chain

_AUTHORITIES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_PROXIES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
_ALL_PROXIES: Final = (*_PROXIES, *map(str.lower, _PROXIES))
_READS_PROXIES: Final = frozenset(
    {"get_environment_proxies", "URLPattern.__init__", "Proxy.__init__", "getproxies"}
)
"""Functions of httpx and urllib."""
_NOT_FOUND: Final = (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)


def wrong_surroundings(error: BaseException) -> ConfigurationError | None:
    """Return the error for a variable that no client can be made with; None if it is not that.

    Args:
        error: What was raised where a client was made, or asked.
    """
    for found in chain(error):
        if _is_about_authorities(found):
            for name, value in _set(_AUTHORITIES):
                why = _no_authorities(name, value)
                if why is not None:
                    return ConfigurationError(
                        f"Cannot use {name}={value!r:.200}: {why}.",
                        next_step="Let it name the certificates of the authorities that are to be "
                        "trusted (PEM), or unset it.",
                        variable=name,
                    )
        if _is_about_proxies(found):
            names = [name for name, _ in _set(_ALL_PROXIES)]
            socks = "SOCKS" in str(found)
            return ConfigurationError(
                f"Cannot use the proxy of the environment ({', '.join(names)}): "
                f"{redact(str(found)).rstrip('.')}.",
                next_step='Run `pip install "httpx[socks]"`, or use another proxy.'
                if socks
                else "Write it as http://host:port; NO_PROXY has names of hosts, with commas.",
                variable=names[0] if names else None,
            )
    return None


def _set(names: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for name in names:
        value = os.environ.get(name, "").strip()
        if value:
            yield name, value


def _is_about_authorities(error: BaseException) -> bool:
    import ssl  # 10 ms, and hardly ever needed

    if isinstance(error, ssl.SSLError):
        return not isinstance(error, ssl.SSLCertVerificationError)
    if isinstance(error, _NOT_FOUND):
        # OpenSSL does not say which file.
        return error.filename is None or error.filename in [path for _, path in _set(_AUTHORITIES)]
    return isinstance(error, OSError) and "TLS CA certificate bundle" in str(error)  # requests


def _no_authorities(name: str, path: str) -> str | None:
    """Return why there are no certificates at a path; None if there are."""
    import ssl

    if not os.path.exists(path):
        return "there is no such file"
    if os.path.isdir(path):
        return "it is a folder" if name == "SSL_CERT_FILE" else None
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError:
        return "there is no certificate in it"
    except OSError as error:
        return f"it cannot be read ({error.strerror})"
    return None


def _is_about_proxies(error: BaseException) -> bool:
    text = str(error)
    if "scheme for proxy URL" in text or "Using SOCKS proxy" in text:
        return True
    if not {kind.__name__ for kind in type(error).__mro__} & {"InvalidURL", "ValueError"}:
        return False
    # Frames that held a password are gone by now.
    return any(
        frame.f_code.co_qualname in _READS_PROXIES
        for frame, _ in traceback.walk_tb(error.__traceback__)
    ) or ("InvalidURL" in type(error).__name__ and any(map(_is_no_address, _set(_ALL_PROXIES))))


def _is_no_address(variable: tuple[str, str]) -> bool:
    name, value = variable
    try:
        _ = urlsplit(value if "://" in value else f"//{value}").port
    except ValueError:
        return name.upper() != "NO_PROXY"
    return False
