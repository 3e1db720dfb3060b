"""Checked by mypy, and run by nobody: sessions have the types that Mellea's own function gives."""

from typing import assert_type

from mellea import MelleaSession
from mellea.core import Context
from mellea.stdlib.context import ChatContext, SimpleContext

from mellea_api import start_session


def flag() -> bool:
    return True


assert_type(start_session(), MelleaSession[SimpleContext])
assert_type(
    start_session("ollama", "a-model", timeout=5.0, pull=True), MelleaSession[SimpleContext]
)
assert_type(start_session("ollama", context_type="simple"), MelleaSession[SimpleContext])
assert_type(start_session("another", context_type="chat", timeout=5), MelleaSession[ChatContext])
assert_type(start_session("ollama", "a-model", ChatContext()).ctx, ChatContext)
assert_type(start_session(ctx=ChatContext()), MelleaSession[ChatContext])
assert_type(start_session(allow_context_type_change=True), MelleaSession[Context])
assert_type(
    start_session(ctx=ChatContext(), allow_context_type_change=flag()), MelleaSession[Context]
)
start_session(timeout="five")  # type: ignore[call-overload]
