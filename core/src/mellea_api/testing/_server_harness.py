"""A backend, a loopback server and sessions between the two, for `server` to test."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, Final
from unittest import mock

from attrs import evolve

import mellea_api
from mellea_api._options.listing import OptionListing, list_options
from mellea_api._registry.backend import Backend
from mellea_api._registry.registry import Registry
from mellea_api.testing.contract import example_of, registry_without_extensions
from mellea_api.testing.loopback import Asked, LoopbackServer, Reply

PROMPT: Final = "What is 2+2?"
APART: Final = ("messages", "stream", "tools", "tool_choice")
"""Parts of a request that hold more than options."""


class ServerHarness:
    """A backend, a server that answers for its provider, and sessions between the two.

    Attributes:
        backend: The backend's name.
        path: What follows the host in the server's address, such as `/v1`.
        model: The id of the model to ask for; None for the default one.
        credentials: What to give for a credential field, where it has to look like something.
            Any other field gets a text that looks like nothing.
        arguments: Further arguments of `start_session`.
        patience: Seconds after which a server that is silent is given up; enough to open a
            session with one that answers.
        registry: Where to look for it; None for the shared registry, of what is installed.
    """

    backend: ClassVar[str]
    path: ClassVar[str] = ""
    model: ClassVar[str | None] = None
    credentials: ClassVar[Mapping[str, str]] = {}
    arguments: ClassVar[Mapping[str, Any]] = {}
    patience: ClassVar[float] = 5.0
    registry: ClassVar[Registry | None] = None

    def answer(self, asked: Asked) -> Any:
        """Return what the server answers when all is well: a `Reply`, or JSON.

        Args:
            asked: What it was asked: the models that it has, a chat, a completion.
        """
        raise NotImplementedError("say what the server answers")

    def _loaded(self) -> Backend:
        return self._backends().backend(self.backend)

    def _backends(self) -> Registry:
        return registry_without_extensions(self.backend, self.registry)

    def _server(self) -> LoopbackServer:
        return LoopbackServer(self.answer)

    def _address(self, server: LoopbackServer) -> str:
        return f"{server.address}{self.path}"

    def _credentials_given(self) -> dict[str, str]:
        fields = self._loaded().descriptor.credentials
        return {
            field.name: self.credentials.get(field.name, f"canary-{field.name}-0123456789abcdef")
            for field in fields
            if field.secret or field.required != "never" or field.name in self.credentials
        }

    def _canaries(self) -> list[str]:
        secret = {field.name for field in self._loaded().descriptor.credentials if field.secret}
        return [value for name, value in self._credentials_given().items() if name in secret]

    @contextlib.contextmanager
    def _session(self, server: LoopbackServer | str, timeout: float | None = None) -> Iterator[Any]:
        """Open a session with a server, or at an address."""
        if isinstance(server, LoopbackServer):
            server = self._address(server)
        arguments: dict[str, Any] = {**self._credentials_given(), **self.arguments}
        with no_proxies():
            session = mellea_api.start_session(
                self.backend,
                self.model,
                base_url=server,
                registry=self._backends(),
                timeout=timeout,
                **arguments,
            )
            try:
                yield session
            finally:
                session.cleanup()

    def _other_questions(self, server: LoopbackServer) -> Iterator[tuple[str, Callable[[], Any]]]:
        """Yield what is asked of a server beside calls."""
        found = self._loaded()
        target = found.target(self.model, self._address(server), settings=dict(self.arguments))
        yield "opening a session", lambda: self._session(server).__enter__().cleanup()
        yield (
            "listing models",
            lambda: found.list_models(target, self._credentials_given(), keyring=False),
        )
        yield (
            "probing credentials",
            lambda: found.validate_credentials(
                target, self._credentials_given(), probe=True, keyring=False
            ),
        )

    def _supported_options(self) -> list[OptionListing]:
        target = self._loaded().target(self.model)
        return [
            option
            for option in list_options(target, "chat")
            if option.supported and option.rule.name not in APART and example_of(option) is not None
        ]

    def _sent(self, server: LoopbackServer, session: Any, options: Mapping[str, Any]) -> Any:
        """Return the body of the one request that a call makes."""
        before = len(server.asked)
        session.chat(PROMPT, model_options=dict(options))
        made = server.asked[before:]
        assert len(made) == 1, f"{dict(options)}: one call made {len(made)} requests"
        assert isinstance(made[0].body, dict), f"{dict(options)}: {made[0].body!r} is no object"
        return made[0].body

    def _outcome(self, use: Callable[[], Any]) -> BaseException | None:
        """Return what it raised, once neither that nor what was logged shows a secret."""
        shown = io.StringIO()
        handler = logging.StreamHandler(shown)
        root = logging.getLogger()
        root.addHandler(handler)
        raised: BaseException | None = None
        try:
            with no_proxies():
                use()
        except Exception as error:
            raised = error
            shown.writelines([repr(error), *traceback.format_exception(error)])
        finally:
            root.removeHandler(handler)
        for canary in self._canaries():
            bare = [line for line in shown.getvalue().splitlines() if canary in line]
            assert not bare, f"a secret is shown: {bare[0].replace(canary, '[the secret]')}"
        return raised

    def _fails(self, use: Callable[[], Any], expected: type[BaseException], when: str) -> None:
        self._is_typed(self._outcome(use), expected, when)

    @staticmethod
    def _is_typed(error: BaseException | None, expected: type[BaseException], when: str) -> None:
        assert error is not None, f"{when}: nothing was raised"
        if not isinstance(error, expected):
            raise AssertionError(
                f"{when}: {type(error).__name__} was raised ({error}), where "
                f"{expected.__name__} is due"
            ) from error


def needed_beside(option: OptionListing) -> dict[str, Any]:
    """Return what an option needs beside it."""
    needed = {
        name: [one for one in values if one is not None]
        for name, values in option.rule.requires.items()
    }
    return {name: values[0] for name, values in needed.items() if values}


def is_within(value: Any, sent: Any) -> bool:
    """Return whether a place holds what a report says, among other things."""
    if isinstance(value, Mapping) and isinstance(sent, Mapping):
        return all(name in sent and is_within(one, sent[name]) for name, one in value.items())
    return bool(value == sent)


def always(reply: Reply) -> Callable[[Asked], Reply]:
    return lambda asked: reply


def changed(
    answer: Callable[[Asked], Any], change: Callable[[bytes], bytes]
) -> Callable[[Asked], Any]:
    """Answer as before, but change the bodies of what a model wrote."""

    def answer_changed(asked: Asked) -> Any:
        found = answer(asked)
        if not isinstance(asked.body, dict) or not {"messages", "prompt"} & set(asked.body):
            return found
        reply = found if isinstance(found, Reply) else Reply(body=found)
        body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        return evolve(reply, body=change(body))

    return answer_changed


def refusing(status: int) -> Callable[[Asked], Reply]:
    def refuse(asked: Asked) -> Reply:
        sent = ", ".join(f"{name}={value}" for name, value in asked.headers.items())
        words = f"Refused. You sent {sent} to {asked.path}"
        return Reply(status=status, body={"error": {"message": words}, "message": words})

    return refuse


@contextlib.contextmanager
def no_proxies() -> Iterator[None]:
    """Hide a developer's proxies, which would be asked for what is on this machine."""
    proxies = {name: "" for name in os.environ if name.lower().endswith("_proxy")}
    with mock.patch.dict(os.environ, {**proxies, "NO_PROXY": "*"}):
        yield
