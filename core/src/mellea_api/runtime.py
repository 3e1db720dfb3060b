"""A runtime: one object that reads its configuration, talks to a model, and can change it.

from mellea_api.runtime import MelleaRuntime

with MelleaRuntime() as runtime:
    print(runtime.chat("What is 2+2?"))
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

from attrs import evolve

from mellea_api._api.environment import RuntimeEnvironment, checked_run_id
from mellea_api._api.owned import OpenSession, OpenSessions
from mellea_api._api.selection import Selection, backend_name, blame, select
from mellea_api._contract.errors import ModelNotFoundError, cannot_use
from mellea_api._contract.requests import Policy
from mellea_api._options.rules import own
from mellea_api._registry.registry import Registry, shared_registry
from mellea_api._secrecy.logs import logger, under_run
from mellea_api._secrecy.veil import hidden
from mellea_api._sessions._mellea.clients import closed
from mellea_api._sessions._mellea.sessions import forget, is_simple
from mellea_api._sessions.streaming import astream_chat, stream_chat
from mellea_api._sessions.turns import session_turn, turn

if TYPE_CHECKING:
    from mellea import MelleaSession

__all__ = ["MelleaRuntime"]


class MelleaRuntime:
    """Talks to a model, and can change it.

    Missing arguments come from the environment, then from the defaults. The environment's model
    and options belong to the environment's backend: they do not apply to another backend. Given
    options win over the environment's, option by option.

    Threads and tasks may share a runtime with the context `simple`. They may not share a
    conversation: calls that overlap would lose turns, so the second one raises
    `ConcurrentUseError`.

    Args:
        backend: The backend's name; else `MELLEA_BACKEND`, else `ollama`.
        model_id: The model; else `MELLEA_MODEL_ID`, else the backend's default model.
        model_options: Options for every call; over those of `MELLEA_MODEL_OPTIONS`, a JSON
            object.
        run_id: Put on log records and telemetry spans of every call; else `MELLEA_RUN_ID`.
        context: `simple` (each call alone), `chat` (a conversation), or a context of Mellea.
        timeout: Seconds allowed for each whole call, above 0; None for no limit.
        base_url: The server's address, for the backend that the runtime starts with.
        unsupported: What to do about options that a backend does not have: `warn`, `error` or
            `drop`; None takes `MELLEA_API_UNSUPPORTED`, then `warn`.
        registry: Where to look for backends; None for the shared registry.
        backend_kwargs: Credentials and further arguments, for the backend that it starts with.

    Raises:
        BackendNotFoundError: No such backend, or its distribution is not installed.
        PluginError: The backend's plugin, or an extension, is broken.
        ConfigurationError: An argument or environment variable cannot be used; names it.
        OptionError: The options cannot be used.
        ProviderError: The backend cannot be reached, refuses the credentials, or does not have
            the model; the subclass says which.
    """

    def __init__(
        self,
        backend: str | None = None,
        model_id: Any = None,
        model_options: Mapping[str, Any] | None = None,
        run_id: str | None = None,
        context: Literal["simple", "chat"] | Any = "simple",
        timeout: float | None = None,
        *,
        base_url: str | None = None,
        unsupported: Policy | None = None,
        registry: Registry | None = None,
        **backend_kwargs: Any,
    ) -> None:
        arguments = hidden({"base_url": base_url, **backend_kwargs})
        del base_url, backend_kwargs
        self._registry = registry
        self._environment = RuntimeEnvironment.read()
        self._run_id = checked_run_id(run_id) or self._environment.run_id
        self._common = {"timeout": timeout, "unsupported": unsupported, "run_id": self._run_id}
        self._options = _own_options(model_options)
        self._switching = threading.Lock()
        name = backend_name(backend, self._environment)
        self._arguments: dict[str, dict[str, Any]] = {}
        wanted = self._wanted(name, model_id, self._options, arguments)
        self._keep(wanted, arguments)
        session = self._build(wanted, context)
        self._sessions = OpenSessions(OpenSession(wanted, session), self._run_id)
        self._conversation = not is_simple(session.ctx)

    @property
    def backend(self) -> str:
        """Name of the backend in use."""
        return self._sessions.selection.request.target.backend

    @property
    def model_id(self) -> str:
        """Id of the model in use."""
        return self._sessions.selection.request.target.model_id

    @property
    def model_options(self) -> dict[str, Any]:
        """The options of every call, as the user spelt them."""
        return dict(self._sessions.selection.request.options)

    @property
    def run_id(self) -> str | None:
        """The run's id, if it has one."""
        return self._run_id

    @property
    def session(self) -> MelleaSession:
        """Mellea's session; after `switch_model` it is another one.

        Raises:
            SessionClosedError: After `cleanup`.
        """
        return self._sessions.current().session

    def chat(self, prompt: str, *, model_options: Mapping[str, Any] | None = None) -> str:
        """Answer a message.

        Args:
            prompt: The message.
            model_options: For this call; they win over the runtime's.

        Returns:
            The answer's text.

        Raises:
            OptionError: The options cannot be used.
            ProviderError: The provider did not answer; the subclass says why.
            ConcurrentUseError: Another call is in the same conversation.
            SessionClosedError: After `cleanup`.
        """
        with self._call() as session:
            return str(session.chat(prompt, model_options=_copy(model_options)).content)

    async def achat(self, prompt: str, *, model_options: Mapping[str, Any] | None = None) -> str:
        """Answer a message: the asynchronous twin of `chat`."""
        with self._call() as session:
            message = await session.achat(prompt, model_options=_copy(model_options))
            return str(message.content)

    def instruct(
        self, description: str, *, model_options: Mapping[str, Any] | None = None, **arguments: Any
    ) -> str:
        """Follow an instruction, with Mellea's requirements and repair.

        Args:
            description: The instruction.
            model_options: For this call; they win over the runtime's.
            arguments: Those of Mellea's `MelleaSession.instruct`, such as `requirements`.

        Returns:
            The answer's text.

        Raises:
            OptionError: The options cannot be used.
            ProviderError: The provider did not answer; the subclass says why.
        """
        with self._call() as session:
            options = _copy(model_options)
            return str(session.instruct(description, model_options=options, **arguments))

    async def ainstruct(
        self, description: str, *, model_options: Mapping[str, Any] | None = None, **arguments: Any
    ) -> str:
        """Follow an instruction: the asynchronous twin of `instruct`."""
        with self._call() as session:
            options = _copy(model_options)
            answer = await session.ainstruct(description, model_options=options, **arguments)
            await answer.avalue()
            return str(answer)

    def stream(
        self, prompt: str, *, model_options: Mapping[str, Any] | None = None
    ) -> Iterator[str]:
        """Answer a message piece by piece.

        Args:
            prompt: The message.
            model_options: For this call; they win over the runtime's.

        Yields:
            New text. Stopping early ends the generation.
        """
        with self._counted() as found:
            pieces = stream_chat(found.session, prompt, model_options=_copy(model_options))
            with contextlib.closing(pieces):
                # The program must not run under the run id, or as part of the call.
                while True:
                    with under_run(self._run_id), found.adoption.within_call():
                        piece = next(pieces, None)
                    if piece is None:
                        break
                    yield piece

    async def astream(
        self, prompt: str, *, model_options: Mapping[str, Any] | None = None
    ) -> AsyncIterator[str]:
        """Answer a message piece by piece: the asynchronous twin of `stream`."""
        with self._counted() as found:
            pieces = astream_chat(found.session, prompt, model_options=_copy(model_options))
            async with contextlib.aclosing(pieces):
                while True:
                    with under_run(self._run_id), found.adoption.within_call():
                        piece = await anext(pieces, None)
                    if piece is None:
                        break
                    yield piece

    def switch_model(
        self,
        model_id: Any = None,
        *,
        backend: str | None = None,
        model_options: Mapping[str, Any] | None = None,
        base_url: str | None = None,
        **backend_kwargs: Any,
    ) -> None:
        """Change the model.

        The new session is opened first; if that fails, the runtime stays as it is. A conversation
        continues with the new model. Running calls finish on the old one. Going back to a model
        that was used lately costs nothing.

        Args:
            model_id: The model; None for the backend's default one.
            backend: The backend; None for the one in use.
            model_options: Options for every call from now on, instead of those given before.
            base_url: The server's address; None for the one given before for that backend.
            backend_kwargs: Credentials and further arguments of the backend, beside those given
                before for it.

        Raises:
            ConcurrentUseError: A call is in the conversation.
            MelleaAPIError: As making a runtime raises; the runtime then stays as it is.
        """
        if base_url is not None:
            backend_kwargs["base_url"] = base_url
        given = hidden(backend_kwargs)
        del base_url, backend_kwargs
        with (
            self._alone(),
            self._switching,
            session_turn(self.session),  # which may be in use by itself, too
            under_run(self._run_id),
        ):
            options = self._options if model_options is None else _own_options(model_options)
            name = backend or self._sessions.selection.backend.name
            arguments = {**self._arguments.get(name, {}), **given}
            wanted = self._wanted(name, model_id, options, arguments)
            kept = self._sessions.find(wanted)
            found = OpenSession(wanted, kept or self._build(wanted, self.session.ctx))
            if kept is not None:
                found.adoption.set_options(wanted.request.options)
            self._sessions.change_to(found)
            self._options = options
            self._keep(wanted, arguments)
        logger.info(
            "switched to %s on %s", self.model_id, self.backend, extra={"run_id": self._run_id}
        )

    def cleanup(self) -> None:
        """End the runtime: take no more calls, and close each backend after its last call.

        Calling it again changes nothing.
        """
        self._sessions.close()

    def __enter__(self) -> MelleaRuntime:
        return self

    def __exit__(self, *_: object) -> None:
        self.cleanup()

    async def __aenter__(self) -> MelleaRuntime:
        return self

    async def __aexit__(self, *_: object) -> None:
        import asyncio

        try:
            # A call that has just returned counts itself out when its task is done.
            await asyncio.sleep(0)
        finally:
            self.cleanup()
        await closed()

    def __repr__(self) -> str:
        if "_sessions" not in vars(self):  # a traceback of __init__ may show it
            return "MelleaRuntime(not open)"
        state = ", cleaned up" if self._sessions.closed else ""
        return f"MelleaRuntime(backend={self.backend!r}, model_id={self.model_id!r}{state})"

    @contextlib.contextmanager
    def _call(self) -> Iterator[MelleaSession]:
        with self._counted() as found, found.adoption.within_call(), under_run(self._run_id):
            yield found.session

    @contextlib.contextmanager
    def _counted(self) -> Iterator[OpenSession]:
        with self._alone(), self._sessions.in_call() as found:
            if not self._conversation:
                forget(found.session)  # or it would keep every call for ever
            yield found

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep others out of the conversation, if it is one."""
        if not self._conversation:
            yield
            return
        with turn(
            self,
            backend=self.backend,
            alternative="use context='simple', or give each task its own runtime",
        ):
            yield

    def _wanted(
        self, name: str, model_id: Any, options: Mapping[str, Any], arguments: Mapping[str, Any]
    ) -> Selection:
        registry = self._registry or shared_registry()
        return select(
            registry, self._environment, name, model_id, options, arguments, **self._common
        )

    def _keep(self, wanted: Selection, arguments: Mapping[str, Any]) -> None:
        """Keep a key, an address and other arguments for the backend that they were given for."""
        kept = {**arguments, **wanted.request.credentials}  # as secrets, which nothing shows
        self._arguments |= dict.fromkeys(wanted.backend.names, kept)

    def _build(self, wanted: Selection, context: Any) -> MelleaSession:
        request = evolve(wanted.request, context=context)
        with blame(wanted.model_variable, ModelNotFoundError):
            return wanted.backend.create_session(request)


def _own_options(options: Any) -> Any:
    if options is None:
        return {}
    if not isinstance(options, Mapping):
        raise cannot_use("model_options", options, "Give a dict, such as {'temperature': 0.7}.")
    return own(dict(options))


def _copy(options: Any) -> Any:
    # The call refuses what is not a dict.
    return dict(options) if isinstance(options, Mapping) else options
