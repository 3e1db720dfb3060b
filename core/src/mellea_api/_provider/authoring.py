"""What plugin authors need when they create sessions: small, and optional.

`construct` builds one of Mellea's backend classes from a request's settings and names a wrong
one, as `check_listing` does where models are listed, and `flag` reads one that is yes or no;
`run_with_deadline` and `call_with_deadline` ask a server something before there is a session;
`model_not_checked` says that nobody was asked for the model; `whole` sees to it that a stream has
an end; `reading_answer` makes an AnswerError of what an SDK stumbles over.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from typing import Any, Final, TypeVar

from mellea_api._contract.errors import AnswerError, ConfigurationError
from mellea_api._contract.requests import SessionRequest, Target
from mellea_api._provider import deadlines

Built = TypeVar("Built")

_END: Final = object()
UnreadableAnswerError = AnswerError
"""The name of before, until the plugins raise a bare `AnswerError`."""
call_with_deadline = deadlines.call_with_deadline
run_with_deadline = deadlines.run_with_deadline


def construct(
    cls: Callable[..., Built],
    target: Target,
    *own: str,
    also: tuple[Callable[..., Any], ...] = (),
    **arguments: Any,
) -> Built:
    """Build a backend class with the target's model, the given arguments and its settings.

    Args:
        cls: One of Mellea's backend classes, or a subclass.
        target: Its model id is the first argument; its settings are keyword arguments.
        own: Names of settings that the plugin itself has used, and that are not passed on.
        also: Further callables whose keyword arguments are allowed, where the class hands its
            keyword arguments on to them (an SDK's client).
        arguments: Further arguments; those that this Mellea's class does not have are left out.

    Raises:
        ConfigurationError: If a setting is no argument of the class.
    """
    import difflib
    import inspect

    parameters = dict(inspect.signature(cls).parameters)
    open_ended = any(found.kind is found.VAR_KEYWORD for found in parameters.values())
    known = {name for name, found in parameters.items() if found.kind is not found.VAR_KEYWORD}
    for callee in also:
        known |= set(inspect.signature(callee).parameters)
    known -= {"self", "model_id", "model_options"}
    settings = {name: value for name, value in target.settings.items() if name not in own}
    for name in settings:
        if name not in known and (also or not open_ended):
            near = difflib.get_close_matches(name, [*known, *own], n=1)
            raise ConfigurationError(
                f"Cannot start a session on the {target.backend} backend: it has no argument "
                f"{name!r}.",
                next_step=f"Did you mean {near[0]!r}?"
                if near
                else f"It takes {', '.join(sorted({*known, *own})) or 'none of its own'}; model "
                "options go into model_options.",
                backend=target.backend,
            )
    given = {name: value for name, value in arguments.items() if name in known or open_ended}
    return cls(target.model_id, **{**given, **settings})


def flag(target: Target, name: str, default: bool, hint: str) -> bool:
    """Return a setting that is yes or no.

    Args:
        target: Its settings may have it.
        name: The setting's name.
        default: What counts where it is not given.
        hint: What to do about one that is neither, such as "Use check=False to ...".

    Raises:
        ConfigurationError: If it is neither.
    """
    value = target.settings.get(name, default)
    if not isinstance(value, bool):
        raise ConfigurationError(
            f"Cannot use {name}={value!r} for the {target.backend} backend.",
            next_step=hint,
            backend=target.backend,
        )
    return value


def check_listing(target: Target, *own: str, also: Iterable[str] = ()) -> None:
    """Refuse arguments of `list_models` that the backend would pass over.

    A misspelt filter would list everything.

    Args:
        target: Its settings are the arguments, without the credentials.
        own: Names of those that the plugin uses.
        also: Names that say nothing where models are listed, and may be there: they are for
            sessions.

    Raises:
        ConfigurationError: If there is another one.
    """
    import difflib

    for name in target.settings:
        if name not in (*own, *also):
            near = difflib.get_close_matches(name, own, n=1)
            raise ConfigurationError(
                f"Cannot list the models of the {target.backend} backend: it has no argument "
                f"{name!r}.",
                next_step=f"Did you mean {near[0]!r}?"
                if near
                else f"It takes {' and '.join(own) or 'nothing but credentials and base_url'}.",
                backend=target.backend,
            )


def model_not_checked(request: SessionRequest, why: str) -> None:
    """Say in the log that nobody was asked whether there is a model.

    It is a warning where the name is like one that the provider listed before, and was not listed
    itself. It is never an error: that list may be old.

    Args:
        request: The session that is to be opened.
        why: Why nobody was asked, such as `check=False`.
    """
    request.unchecked(why)


@contextlib.contextmanager
def reading_answer() -> Iterator[None]:
    """Say of what an SDK stumbles over, inside the block, that it is no answer.

    SDKs look into an answer without asking what it is: a list where a dict is expected ends in
    an `AttributeError` of theirs. The block should hold the SDK's call and nothing else.

    Raises:
        AnswerError: Instead of an AttributeError, IndexError, KeyError or TypeError.
    """
    try:
        yield
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise AnswerError(f"the SDK stumbled over it: {type(error).__name__}: {error}") from error


async def whole(pieces: Any, is_last: Callable[[Any], bool]) -> AsyncGenerator[Any]:
    """Pass on the pieces of a stream, and raise where it ends before its last piece.

    A connection that is closed in the middle of an answer looks like its end to an SDK.

    Args:
        pieces: What an SDK streams: an asynchronous iterator.
        is_last: Whether a piece says that the answer ends with it.

    Yields:
        The pieces.

    Raises:
        ConnectionError: If there were pieces, and none of them was the last.
        AnswerError: If the SDK stumbles over one.
    """
    pieces_left = aiter(pieces)
    begun = ended = False
    try:
        while True:
            with reading_answer():
                piece = await anext(pieces_left, _END)
                if piece is _END:
                    break
                begun, ended = True, ended or is_last(piece)
            yield piece
    finally:
        close = getattr(pieces, "aclose", None) or getattr(pieces, "close", None)
        if close is not None:
            await close()
    if begun and not ended:
        raise ConnectionError("the answer broke off before its end")
