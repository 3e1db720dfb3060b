"""Adapter functions of Mellea (intrinsics): they bring options of their own, and a call's win.

Their path leaves the usual one before the chat, so that it shows whether options are normalized
where Mellea enters a backend, and not only where it chats.
"""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("mellea")

from support.stage import Stage, stage
from support.stamp import restart, stamping_registry
from support.way import newer

from mellea_api import options_report

CONFIG = {
    "model": None,
    "instruction": "Is that right?",
    "response_format": '{"type": "object", "properties": {"right": {"type": "boolean"}}}',
    "transformations": [],
    "parameters": {"temperature": 0.0, "max_completion_tokens": 50},
}
"""What an adapter's `io.yaml` says."""


def add_to_openai(backend: Any) -> None:
    embedded = newer("mellea.backends.adapters", "EmbeddedIntrinsicAdapter")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        backend.add_adapter(embedded("answerability", CONFIG, technology="alora"))


def add_to_ollama(backend: Any) -> None:
    adapters = newer("mellea.backends.adapters")
    identity = adapters.Identity("answerability", "alora")
    contract = adapters.get_io_contract("answerability")
    adapter = adapters.Adapter(identity, contract, adapters.ServerMediatedBinding())
    backend.add_adapter(adapter, config=CONFIG)


@pytest.fixture(params=["ollama", "openai"])
def on(request: pytest.FixtureRequest) -> Iterator[Stage]:
    arguments: dict[str, Any] = {}
    if request.param == "ollama":
        newer("mellea.backends.adapters", "ServerMediatedBinding")
        arguments["adapter_models"] = {"answerability": "tiny"}
    else:
        newer("mellea.backends.adapters", "EmbeddedIntrinsicAdapter")
    with stage(
        request.param,
        compatible=True,
        context_type="chat",
        model_options={"max_tokens": 11, "top_p": 0.5},
        registry=stamping_registry(),
        **arguments,
    ) as opened:
        (add_to_ollama if request.param == "ollama" else add_to_openai)(opened.session.backend)
        restart()
        yield opened


def call_adapter(on: Stage, **options: Any) -> Any:
    from mellea.stdlib.components import Intrinsic, Message

    context = on.session.ctx.add(Message("user", "What is 2+2?")).add(Message("assistant", "4"))

    async def run() -> Any:
        thunk, _ = await on.session.backend.generate_from_context(
            Intrinsic("answerability"), context, model_options=options
        )
        await thunk.avalue()
        return thunk

    return asyncio.run(run())


def test_options_of_the_call_win_over_the_adapters(on: Stage) -> None:
    thunk = call_adapter(on, max_new_tokens=7, temperature=0.25)
    assert on.limits() == {7: 1}
    assert (on.values("temperature"), on.values("top_p")) == ([0.25], [0.5])
    assert on.values("seed") == [1]
    assert on.problems() == []
    assert options_report(thunk).decision("max_tokens").value == 7


def test_the_adapters_options_win_over_nothing_else(on: Stage) -> None:
    call_adapter(on)
    assert on.limits() == {11: 1}
    assert on.values("temperature") == [0.0]
    assert on.values("seed") == [1]
    assert on.problems() == []


def test_options_for_the_body_are_sent_beside_the_adapters_own(on: Stage) -> None:
    """Mellea 0.6 gave the SDK two bodies, where a session or a call had one."""
    thinks = {"thinking": True} if on.backend == "openai" else {}
    call_adapter(on, top_k=3, **thinks)
    assert on.values("top_k") == [3]
    if thinks:
        template = on.sent[-1]["chat_template_kwargs"]
        assert template == {"adapter_name": "answerability", "enable_thinking": True}
    assert on.problems() == []
