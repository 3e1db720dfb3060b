"""What holds for every test: no network, no developer's environment, no registry left over.

Nothing here imports the library, so that a test of what an import costs starts from nothing.
"""

from __future__ import annotations

import errno
import importlib
import os
import signal
import socket
import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["support.fixtures"]

# A job that a shell starts in the background ignores Ctrl-C, and so does all that it starts: the
# tests that interrupt a program would wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# On a busy machine it takes long to make any values.
settings.register_profile(
    "dev", deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow]
)
# The same examples in every run, so that a red build is red again; and more of them.
settings.register_profile(
    "ci",
    deadline=None,
    max_examples=int(os.environ.get("TEST_EXAMPLES", "200")),
    derandomize=True,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("ci" if os.environ.get("CI") else "dev")


# --- the environment ---------------------------------------------------------------------------

DEVELOPERS_VARIABLES = (
    "MELLEA_*",
    "OPENAI_*",
    "OLLAMA_*",
    "WATSONX_*",
    "WX_*",
    "HF_*",
    "HUGGING*FACE_*",
    "LITELLM_*",
    "*_API_KEY",
    "*_PROXY",
    "*_proxy",
)


def _is_developers(variable: str) -> bool:
    return any(fnmatchcase(variable, pattern) for pattern in DEVELOPERS_VARIABLES)


for _variable in filter(_is_developers, list(os.environ)):
    # Here too, for what runs before the first test: fixtures of a module or of the session.
    del os.environ[_variable]


@pytest.fixture(autouse=True)
def clean_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Every test starts without the developer's variables and caches, and leaves no variable behind."""
    before = dict(os.environ)
    for variable in filter(_is_developers, before):
        del os.environ[variable]
    home = tmp_path_factory.mktemp("home")
    for kind in ("cache", "config", "data", "state"):
        os.environ[f"XDG_{kind.upper()}_HOME"] = str(home / kind)
    # Nor does any test ask the developer's keyring.
    os.environ["PYTHON_KEYRING_BACKEND"] = "keyring.backends.null.Keyring"
    yield
    os.environ.clear()
    os.environ.update(before)


# --- the network -------------------------------------------------------------------------------


class NetworkRefusedError(RuntimeError):
    """A test tried to leave this machine.

    It is no OSError, so that no library takes it for a server that is down.
    """


_refused: list[str] = []
_real = {name: getattr(socket.socket, name) for name in ("connect", "connect_ex", "sendto")}
_real_getaddrinfo = socket.getaddrinfo


def _is_local(host: Any) -> bool:
    if isinstance(host, bytes):
        host = host.decode("ascii", "replace")
    if host in (None, "", "localhost"):
        return True
    try:
        address = ip_address(str(host).partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _refuse(where: Any) -> NetworkRefusedError:
    _refused.append(str(where))
    return NetworkRefusedError(f"tests may not reach {where!r}: only loopback is allowed")


def _guard(name: str) -> Any:
    def guarded(self: socket.socket, *args: Any) -> Any:
        # connect(address), connect_ex(address), sendto(data, address), sendto(data, flags, address)
        address = args[-1]
        if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_local(address[0]):
            raise _refuse(address)
        return _real[name](self, *args)

    return guarded


def _guarded_getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
    if str(host).endswith(".invalid"):
        # The one outer name a test may ask for: it never exists (RFC 2606), and nobody is asked.
        raise socket.gaierror(socket.EAI_NONAME, os.strerror(errno.ENOENT))
    if not _is_local(host):
        raise _refuse(host)
    return _real_getaddrinfo(host, *args, **kwargs)


for _name in _real:
    setattr(socket.socket, _name, _guard(_name))
socket.getaddrinfo = _guarded_getaddrinfo


@pytest.fixture(autouse=True)
def no_network() -> Iterator[None]:
    """A test that tried to leave this machine fails, also where a library swallowed the refusal."""
    _refused.clear()
    yield
    if _refused:
        pytest.fail(f"the test tried to reach {', '.join(_refused)}", pytrace=False)


# --- the library -------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def fresh_registry() -> Iterator[None]:
    """No test sees the registry that another one shared."""
    yield
    # Not `refresh()`, which looks at once: most tests need no registry.
    importlib.invalidate_caches()
    shared = getattr(sys.modules.get("mellea_api._registry.registry"), "_shared", None)
    if shared is not None:
        shared.clear()
