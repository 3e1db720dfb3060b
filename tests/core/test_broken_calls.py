"""A backend whose own code breaks in the middle of a call: one error, no secret, and others go on."""

from __future__ import annotations

import asyncio
import pickle
import sys
import traceback
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("mellea")

from support.fake_plugins import backend, registry

from mellea_api import PluginError, start_session, stream_chat

KEY = "sk-canary-0123456789-abcdefgh"
PLUGIN = """
import asyncio
from mellea_api.plugin import BackendDescriptor, CredentialField, OptionRule, hookimpl
from mellea_api._options.shared_rules import TEXT_RULES

@hookimpl
def describe_backend(name):
    return BackendDescriptor(
        name=name,
        summary="a fake",
        default_model="small",
        options=TEXT_RULES,
        credentials=(CredentialField(name="api_key", required="never"),),
    )

@hookimpl
def create_session(request):
    from mellea import MelleaSession
    from mellea_api.plugin import TextBackend

    key = request.credential("api_key")

    class Fake(TextBackend):
        provider = "fake"
        async def generate(self, prompt, options):
            BODY

    class Seam(Fake):
        pass

    async def seam(self, *args, **kwargs):
        SEAM

    for name in ("_generate_from_context", "generate_from_context"):
        if hasattr(Fake, name):
            setattr(Seam, name, seam)
            break
    return MelleaSession((Seam if request.target.settings.get("seam") else Fake)("small"))
"""
Open = Callable[..., Any]


@pytest.fixture
def opened() -> Iterator[Open]:
    """Return a function that opens a session on a backend that does this."""
    name = "broken_calls_fake"

    def opened(body: str = "yield 'ok'", seam: str = "raise NotImplementedError") -> Any:
        module = sys.modules[name] = ModuleType(name)
        exec(PLUGIN.replace("BODY", body).replace("SEAM", seam), vars(module))
        made = registry(backend("fake", name))
        arguments: dict[str, Any] = {"seam": True} if "Not" not in seam else {}
        return start_session("fake", registry=made, api_key=KEY, timeout=20, **arguments)

    yield opened
    sys.modules.pop(name, None)


def _raw(session: Any) -> None:
    from mellea.core import CBlock

    asyncio.run(session.backend.generate_from_raw([CBlock("x")], ctx=session.ctx))


WAYS: dict[str, Callable[[Any], Any]] = {
    "chat": lambda session: session.chat("x"),
    "achat": lambda session: asyncio.run(session.achat("x")),
    "stream": lambda session: list(stream_chat(session, "x")),
    "raw": _raw,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("yield 5", "yielded a int"),
        ("yield 'a'; yield None", "yielded a NoneType"),
        ("yield b'a'", "yielded a bytes"),
        ("return 'text'", "returned a coroutine"),
        ("raise SystemExit(3); yield", "raised SystemExit: 3"),
        ("raise asyncio.CancelledError; yield", "raised CancelledError"),
        ("raise BaseException('own'); yield", "raised BaseException: own"),
    ],
)
def test_what_generate_may_not_do_is_said_of_it(
    opened: Open, body: str, reason: str, way: str
) -> None:
    session = opened(body)
    with pytest.raises(PluginError) as caught:
        WAYS[way](session)
    assert f"Fake.generate of the fake backend {reason}." in str(caught.value)
    assert caught.value.backend == "fake"
    # The event loop in which Mellea runs synchronous calls has survived it.
    assert opened().chat("x").content == "ok"


@pytest.mark.parametrize("way", ["chat", "achat"])
@pytest.mark.parametrize("error", ["SystemExit(3)", "asyncio.CancelledError()"])
def test_a_backend_of_ones_own_may_neither_exit_nor_cancel_itself(
    opened: Open, error: str, way: str
) -> None:
    kind = error.partition("(")[0].rpartition(".")[2]
    with pytest.raises(PluginError, match=f"failed inside the fake backend with {kind}"):
        WAYS[way](opened(seam=f"raise {error}"))
    assert opened().chat("x").content == "ok"


def test_whoever_stops_waiting_is_told_so_and_nothing_else(opened: Open) -> None:
    session = opened("await asyncio.sleep(60); yield 'late'")

    async def go() -> None:
        task = asyncio.create_task(session.achat("x"))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(go())


@pytest.mark.parametrize("way", WAYS)
def test_a_plugins_own_error_says_no_secret(opened: Open, way: str) -> None:
    session = opened("raise ValueError(f'bad key {key}'); yield")
    with pytest.raises(PluginError, match=r"ValueError: bad key \[secret\]") as caught:
        WAYS[way](session)
    assert KEY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("way", WAYS)
def test_an_exception_that_nobody_knows_is_ours_and_stays_itself(opened: Open, way: str) -> None:
    session = opened("raise type('Own', (LookupError,), {'code': 7})('gone'); yield")
    with pytest.raises(PluginError, match=r"inside the fake backend with Own: gone") as caught:
        WAYS[way](session)
    assert isinstance(caught.value, LookupError)
    assert caught.value.code == 7  # type: ignore[attr-defined]
    assert type(pickle.loads(pickle.dumps(caught.value))) is PluginError
