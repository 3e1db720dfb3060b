"""The base class for a model of your own: write one method, for every version of Mellea.

    from mellea_api.plugin import TextBackend

    class EchoBackend(TextBackend):
        provider = "echo"

        async def generate(self, prompt, options):
            for word in prompt.text.split():
                yield word + " "

Importing this module imports Mellea; a plugin imports it inside `create_session`.
"""

from __future__ import annotations

import abc
import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from typing import Any, ClassVar, Final, cast

from attrs import field, frozen
from mellea.backends import ModelOption
from mellea.backends.backend import FormatterBackend
from mellea.formatters import TemplateFormatter

from mellea_api._contract.errors import PluginError, RequestRefusedError
from mellea_api._provider.deadlines import call_with_deadline
from mellea_api._secrecy.logs import logger
from mellea_api._sessions._mellea.seams import raw_returns_usage, seams, wire_thunk

_RELEASING: Final = 10.0
"""Seconds that `release` may hold whoever closes a backend."""


@frozen
class Prompt:
    """What the model is asked.

    Args:
        messages: The conversation, each a dict of `role` and `content`; answer the last one. At
            the raw endpoint, one message of the user.
        raw: Whether it came from the raw endpoint, without a conversation.
        format: A pydantic model that the answer should fit, or None.
    """

    messages: tuple[Mapping[str, str], ...]
    raw: bool = False
    format: Any = field(default=None, kw_only=True)

    @property
    def text(self) -> str:
        """The text of the last message."""
        return self.messages[-1]["content"] if self.messages else ""


class TextBackend(FormatterBackend, abc.ABC):  # type: ignore[misc]
    """A backend of Mellea whose author writes `generate`.

    It chats, takes raw prompts, streams, and fits every version of Mellea that this library
    supports.

    Args:
        model_id: The model's id.

    Attributes:
        provider: The backend's name, for logs and telemetry.
        formats: Whether `generate` follows `prompt.format`. If not, a call that asks for a
            format is refused, and `prompt.format` is always None.
    """

    provider: ClassVar[str] = "text"
    formats: ClassVar[bool] = False

    def __init__(self, model_id: str) -> None:
        super().__init__(model_id, TemplateFormatter(model_id=model_id))
        # Mellea reads these two from 0.7 on.
        self._model_id = model_id
        self._provider = self.provider

    @abc.abstractmethod
    def generate(self, prompt: Prompt, options: Mapping[str, Any]) -> AsyncIterator[str]:
        """Generate an answer, piece by piece: an async generator.

        Args:
            prompt: What the model is asked.
            options: The options as the backend's rules render them, already checked. Those with
                Mellea's own names (`@@@stream@@@`, …) are left out: this class handles them.

        Yields:
            The answer's pieces, which may be empty, whether or not the caller streams.
        """

    def release(self) -> None:
        """Release resources such as weights or a process; by default there are none.

        A runtime calls it after `cleanup`, when the last call has ended. From Mellea 0.8 on,
        closing the backend calls it too. It may be called more than once, and from any thread.
        Whoever closes the backend waits 10 seconds for it at most.
        """

    def _release_in_time(self) -> None:
        try:
            call_with_deadline(self.release, _RELEASING)
        except TimeoutError:
            name = type(self).__name__
            logger.warning("%s.release() takes more than %g s: not waited for", name, _RELEASING)

    async def _chat(
        self, action: Any, ctx: Any, *, format: Any = None, model_options: Any = None, **_: Any
    ) -> tuple[Any, Any]:
        await self.do_generate_walk(action)
        given = dict(model_options or {})
        history = ctx.view_for_generation()
        messages = self.formatter.to_chat_messages([*(history or ()), action])
        told = [{"role": message.role, "content": str(message.content)} for message in messages]
        system = given.get(ModelOption.SYSTEM_PROMPT)
        if system:
            told.insert(0, {"role": "system", "content": str(system)})
        thunk = self._start(action, history, given, Prompt(tuple(told), format=format))
        return thunk, ctx.add(action).add(thunk)

    async def _raw(
        self, actions: Any, ctx: Any, *, format: Any = None, model_options: Any = None, **_: Any
    ) -> Any:
        await self.do_generate_walks(list(actions))
        given = dict(model_options or {})
        results = []
        for action in actions:
            message = {"role": "user", "content": str(self.formatter.print(action))}
            prompt = Prompt((message,), raw=True, format=format)
            results.append(self._start(action, None, given, prompt))
        for thunk in results:
            await thunk.avalue()
        return (results, None) if raw_returns_usage() else results

    def _start(self, action: Any, context: Any, options: dict[str, Any], prompt: Prompt) -> Any:
        if prompt.format is not None and not self.formats:
            raise RequestRefusedError(
                f"The {self.provider} backend cannot follow a format.",
                next_step="Leave format= out and read the answer's text, or use another backend.",
            )
        own = {name: value for name, value in options.items() if not name.startswith("@@@")}
        streams = bool(options.get(ModelOption.STREAM))

        async def produce(put: Callable[[str], Coroutine[Any, Any, None]]) -> None:
            pieces: Any = self.generate(prompt, own)
            if not hasattr(pieces, "__aiter__"):
                if hasattr(pieces, "close"):
                    pieces.close()  # a coroutine that nobody will await
                raise self._broken(
                    f"returned a {type(pieces).__name__}", "Write it as `async def` with `yield`."
                )
            whole = []
            try:
                async for piece in pieces:
                    if not isinstance(piece, str):
                        raise self._broken(
                            f"yielded a {type(piece).__name__}", "Let it yield text alone."
                        )
                    if streams:
                        await put(piece)
                    else:
                        whole.append(piece)
            except (Exception, KeyboardInterrupt, GeneratorExit):
                raise
            except BaseException as error:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise  # nobody waits any more
                # SystemExit would end the event loop with every call that runs there. Nobody
                # would hear of a cancellation by a timeout or a task group inside an SDK.
                raise self._broken(
                    f"raised {type(error).__name__}: {error}".rstrip(": "),
                    "Let it raise an exception that is an Exception.",
                ) from error
            finally:
                # If nobody waits any more, the model must not go on running.
                if hasattr(pieces, "aclose"):
                    await pieces.aclose()
            await put("".join(whole))

        return wire_thunk(
            action,
            context,
            options,
            produce,
            backend=self.provider,
            model_id=self._model_id,
            prompt=list(prompt.messages),
        )

    def _broken(self, what: str, next_step: str) -> PluginError:
        return PluginError(
            f"{type(self).__name__}.generate of the {self.provider} backend {what}.",
            next_step=next_step,
        )


async def _aclose(self: TextBackend) -> None:
    await asyncio.to_thread(self._release_in_time)


if hasattr(FormatterBackend, "close"):
    # Not where Mellea has none: its sessions' cleanup would call it while others use the backend.
    setattr(TextBackend, "close", TextBackend._release_in_time)  # noqa: B010
    setattr(TextBackend, "aclose", _aclose)  # noqa: B010
# Mellea renamed the two methods that generate; each version finds its own here. A class that
# overrode the public methods would be wrong for a newer Mellea.
for _name, _endpoint in seams(FormatterBackend):
    setattr(TextBackend, _name, TextBackend._chat if _endpoint == "chat" else TextBackend._raw)
abc.update_abstractmethods(cast(Any, TextBackend))
