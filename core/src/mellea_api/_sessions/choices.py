"""The messages of an answer: in choices, as OpenAI has them and most backends, or alone.

Servers leave fields out, or fill them in other ways than OpenAI. Here the fields that Mellea needs
are filled in before it reads a piece; what says that there is no answer is raised. A piece is an
object of an SDK or a dict; one of another shape is left alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from attrs import define

from mellea_api._contract.errors import AnswerError, BackendUnavailableError, ContentRefusedError

_SAID: Final = (
    *("content", "tool_calls", "function_call"),
    *("thinking", "reasoning_content", "reasoning"),
)
_MOST: Final = 1000
"""Of one kind of part in an answer: what is done with each holds the event loop."""
_LONGEST: Final = 4 * 2**20
"""Letters of the arguments of a call, which are JSON."""


def check_ends(answer: Any, filters: tuple[str, ...]) -> list[Any] | None:
    """Check how the choices of an answer, or of a piece of it, ended.

    Args:
        answer: The answer.
        filters: The finish reasons of a content filter.

    Returns:
        The choices; None if it is not of this shape.

    Raises:
        ContentRefusedError: If a content filter ended it.
        BackendUnavailableError: If the provider failed in the middle.
    """
    get = dict.get if isinstance(answer, dict) else getattr
    choices = get(answer, "choices", "")
    if not choices and (error := get(answer, "error", None)):
        raise BackendUnavailableError(str(_get(error, "message") or error))
    if choices is None:
        return []
    if not isinstance(choices, list):
        return None
    for choice in choices:
        get = dict.get if isinstance(choice, dict) else getattr
        reason, error = get(choice, "finish_reason", None), get(choice, "error", None)
        if reason in filters:
            raise ContentRefusedError("it ended the answer")
        if reason == "error" or error:
            words = _get(error, "message") or error or "the answer ended with an error"
            raise BackendUnavailableError(str(words))
    return choices


class Choices:
    """The first choice of one answer, piece by piece.

    Args:
        filters: The finish reasons of a content filter.
    """

    def __init__(self, filters: tuple[str, ...]) -> None:
        self._filters = filters
        self._shaped = self._said = False
        self._refusal = ""
        self._calls: list[_Call] = []
        self._latest: dict[Any, int] = {}  # the latest call by the server's index

    def read(self, piece: Any) -> bool:
        """Fill in what Mellea needs of a piece.

        Returns:
            Whether the piece can add to the answer.

        Raises:
            ContentRefusedError: If a content filter ended the answer.
            BackendUnavailableError: If the provider failed in the middle.
        """
        choices = check_ends(piece, self._filters)
        unknown = getattr(piece, "model_extra", None) or ()  # an SDK keeps them too
        _check_number(max(unknown, choices or (), key=len), "parts")
        if choices is None:
            if (message := _get(piece, "message")) is not None:  # Ollama's
                self._note(message)
            return True
        left: list[Any] = []
        first, whole = None, False
        for choice in choices:
            get = dict.get if isinstance(choice, dict) else getattr
            delta, message = get(choice, "delta", None), get(choice, "message", None)
            if delta is not None or message is not None:
                if not left:
                    first, whole = (delta if message is None else message), delta is None
                left.append(choice)
        if not left or len(left) < len(choices):
            _set(piece, "choices", left)
        self._shaped = True
        if left:
            self._note(first)
            self._complete(first, whole=whole)
        return bool(left)

    def finish(self, text: str) -> None:
        """Check that nothing of the answer is lost, now that all of it was read.

        Args:
            text: The text that Mellea read.

        Raises:
            ContentRefusedError: If the model refused.
            AnswerError: If there is neither text nor anything else, or a tool's arguments are
                not an object in JSON.
        """
        if self._refusal and not text:
            raise ContentRefusedError(self._refusal)
        if self._shaped and not self._said and not text:
            raise AnswerError("it has no text")
        for call in self._calls:
            if len(call.arguments) > _LONGEST:
                raise AnswerError(f"it calls {call.name!r} with {len(call.arguments)} letters")
            if call.arguments and not _is_object(call.arguments):
                raise AnswerError(
                    f"it calls {call.name!r} with {call.arguments[:60]!r}, which is not JSON"
                )

    def _note(self, message: Any) -> None:
        get = dict.get if isinstance(message, dict) else getattr
        if get(message, "role", None) != "assistant":  # another name, or none
            _set(message, "role", "assistant")
        self._shaped = True
        for name in _SAID:
            said = get(message, name, None)
            if isinstance(said, list):
                _check_number(said, name)
            self._said = self._said or said not in (None, [])

    def _complete(self, message: Any, *, whole: bool) -> None:
        get = dict.get if isinstance(message, dict) else getattr
        content = get(message, "content", None)
        if isinstance(content, list):
            parts = (part if isinstance(part, str) else _get(part, "text") for part in content)
            _set(message, "content", "".join(part for part in parts if isinstance(part, str)))
        self._refusal += get(message, "refusal", None) or ""
        for call in get(message, "tool_calls", None) or ():
            function = _get(call, "function")
            name, arguments = _get(function, "name"), _get(function, "arguments")
            known = None if whole else self._begun(call, name)
            if known is None:
                known = _Call(_get(call, "id"), name or "")
                self._latest[None if whole else _get(call, "index")] = len(self._calls)
                self._calls.append(known)
                _check_number(self._calls, "tool_calls")
            elif name == known.name:
                name = None  # again: Mellea would join the two
            else:
                known.name += name or ""
            if not whole:
                _set(call, "index", self._calls.index(known))
            if isinstance(arguments, Mapping):
                arguments = json.dumps(arguments)
            known.arguments += arguments or ""
            _set(function, "name", name)
            _set(function, "arguments", arguments or ("{}" if whole else None))

    def _begun(self, call: Any, name: str | None) -> _Call | None:
        """Return the call that a piece goes on with; None if it begins another."""
        index, own_id = _get(call, "index"), _get(call, "id")
        if index in self._latest:
            known = self._calls[self._latest[index]]
        elif index is None and self._calls:
            known = self._calls[-1]
        else:
            return None
        if name and (own_id != known.id if own_id else _is_object(known.arguments)):
            return None
        return known


@define(eq=False)
class _Call:
    """A call of a tool, as far as it was read."""

    id: str | None
    name: str
    arguments: str = ""


def _check_number(parts: Any, name: str) -> None:
    if len(parts) > _MOST:
        raise AnswerError(f"it has {len(parts)} {name}")


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _get(thing: Any, name: str) -> Any:
    return thing.get(name) if isinstance(thing, dict) else getattr(thing, name, None)


def _set(thing: Any, name: str, value: Any) -> None:
    if isinstance(thing, dict):
        thing[name] = value
    else:
        setattr(thing, name, value)
