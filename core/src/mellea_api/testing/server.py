"""What a backend with a server promises, as tests: subclass them, and say what the server answers.

    from mellea_api.testing.loopback import openai_answer
    from mellea_api.testing.server import ServerContract

    class TestMine(ServerContract):
        backend = "mine"
        path = "/v1"

        def answer(self, asked):
            return openai_answer(asked, models=("mine-1",))

A real session of Mellea, with your SDK, talks to a server on 127.0.0.1. It answers what you say,
and then what servers should not. Nothing else is asked, and no key is needed.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
import logging
import os
import socket
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar
from unittest import mock

import mellea_api
from mellea_api._contract import errors
from mellea_api._options.listing import OptionListing, list_options
from mellea_api._registry import Registry
from mellea_api._registry.backend import Backend
from mellea_api.testing.contract import registry_without_extensions
from mellea_api.testing.loopback import Asked, LoopbackServer, Reply

__all__ = ["ServerContract"]

_PROMPT = "What is 2+2?"
_EXAMPLES: Mapping[str, Any] = {
    "number": 0.5,
    "integer": 3,
    "seconds": 30,
    "boolean": True,
    "text": "x",
    "texts": ["x"],
}
_APART = ("messages", "stream", "tools", "tool_choice")
"""Where options go whose place holds more than they say."""
_STATUSES: Mapping[int, type[errors.ProviderError]] = {
    400: errors.ProviderError,
    401: errors.CredentialError,
    403: errors.PermissionDeniedError,
    404: errors.ProviderError,
    429: errors.RateLimitError,
    500: errors.BackendUnavailableError,
    503: errors.BackendUnavailableError,
}
_NO_ANSWERS = (
    b"<!doctype html><html><body>Log in</body></html>",
    b'{"choices": [{"mess',
    b"",
    b"null",
    b"[]",
    b"{}",
    b'{"choices": 3, "message": 3, "results": 3, "data": 3}',
)


class ServerContract:
    """The tests. A subclass names its backend, whose plugin has to be installed.

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
    patience: ClassVar[float] = 2.0
    registry: ClassVar[Registry | None] = None

    def answer(self, asked: Asked) -> Any:
        """Return what the server answers when all is well: a `Reply`, or JSON.

        Args:
            asked: What it was asked: the models that it has, a chat, a completion.
        """
        raise NotImplementedError("say what the server answers")

    def test_what_the_report_says_is_what_is_sent(self) -> None:
        """Give each option that `mellea-api options` lists, alone; look at the request's JSON."""
        with self._server() as server, self._session(server) as session:
            plain, again = (self._sent(server, session, {}) for _ in range(2))
            changing = {name for name in plain if again.get(name) != plain[name]}
            for option in self._supported():
                given = {option.rule.name: _example(option), **_beside(option)}
                try:
                    body = self._sent(server, session, given)
                except errors.OptionError:
                    continue  # it needs another one beside it, or takes nothing of the kind
                report = mellea_api.options_report(session)
                assert report is not None, "the call did not go through the library"
                for name, value in report.wire.items():
                    if name in _APART:
                        continue
                    assert name in body, f"{given}: {name} is in the report and was not sent"
                    assert body[name] == value or _is_within(value, body[name]), (
                        f"{given}: the report says {name}={value!r}, and {body[name]!r} was sent"
                    )
                more = {
                    name
                    for name, value in body.items()
                    if plain.get(name, value) != value or name not in plain
                }
                unsaid = more - changing - set(report.wire) - set(_APART)
                assert not unsaid, f"{given}: {sorted(unsaid)} were sent and are not in the report"
                assert "@@@" not in json.dumps(body), f"{given}: a name of Mellea was sent"

    def test_what_a_server_refuses_is_an_error_that_shows_no_secret(self) -> None:
        """Refuse with each status, and repeat the credentials in the refusal, as some do."""
        with self._server() as server:
            for status, expected in _STATUSES.items():
                refusal = _refusing(status)
                with self._session(server) as session:
                    server.answer = refusal
                    asked = len(server.asked)
                    self._fails(lambda: session.chat(_PROMPT), expected, f"HTTP {status}")
                    count = len(server.asked) - asked
                    assert count == 1, f"HTTP {status}: one call was sent {count} times"
                    server.answer = self.answer
                    session.chat(_PROMPT)  # it can be used afterwards
                server.answer = refusal
                for what, use in self._questions(server):
                    asked = len(server.asked)
                    error = self._outcome(use)
                    if error is not None and len(server.asked) > asked:
                        self._is_typed(error, errors.MelleaAPIError, f"{what}: HTTP {status}")
                server.answer = self.answer

    def test_what_is_no_answer_is_an_error_that_says_so(self) -> None:
        """Answer with what is no JSON, or JSON of another shape."""
        with self._server() as server, self._session(server) as session:
            for body in _NO_ANSWERS:
                server.answer = _replying(Reply(body=body))
                error = self._outcome(lambda: session.chat(_PROMPT))
                if error is not None or not body.startswith((b"{}", b"[]", b"null")):
                    self._is_typed(error, errors.MelleaAPIError, f"the answer {body!r}")
                for what, use in self._questions(server):
                    error = self._outcome(use)
                    if error is not None:
                        self._is_typed(error, errors.MelleaAPIError, f"{what}: {body!r}")
                server.answer = self.answer
            session.chat(_PROMPT)

    def test_a_redirect_takes_neither_prompt_nor_credentials_along(self) -> None:
        """Send the caller on to another server."""
        with self._server() as other, self._server() as server, self._session(server) as session:
            for status in (301, 302, 307, 308):
                to = {"Location": f"{other.address}{self.path}/chat/completions"}
                server.answer = _replying(Reply(status=status, headers=to, body={}))
                self._fails(
                    lambda: session.chat(_PROMPT), errors.MelleaAPIError, f"redirect {status}"
                )
                for _, use in self._questions(server):
                    self._outcome(use)
                assert not other.asked, f"HTTP {status}: {other.asked[0].path} was asked elsewhere"

    def test_a_server_that_is_not_there_is_an_error_that_says_so(self) -> None:
        """Go where nobody listens."""
        with socket.socket() as unused:  # bound, so that nobody else takes the port
            unused.bind(("127.0.0.1", 0))
            address = f"http://127.0.0.1:{unused.getsockname()[1]}{self.path}"

            def use() -> None:
                with self._session_at(address) as session:
                    session.chat(_PROMPT)

            self._fails(use, errors.BackendUnavailableError, "nobody listens")

    def test_a_server_that_is_silent_is_given_up(self) -> None:
        """Give it `timeout=`, while a session is opened and in a call."""
        with self._server() as server, self._session(server, timeout=self.patience) as session:
            server.answer = _replying(Reply(silent=True))
            self._fails(
                lambda: session.chat(_PROMPT), errors.RequestTimeoutError, "a silent server"
            )

            def use() -> None:
                with self._session(server, timeout=0.3) as other:
                    other.chat(_PROMPT)

            began = time.monotonic()
            self._fails(use, errors.RequestTimeoutError, "a silent server, opening a session")
            took = time.monotonic() - began
            assert took < 0.3 + self.patience, f"timeout=0.3: it took {took:.1f} s to give up"

    def test_a_session_works_in_every_event_loop(self) -> None:
        """Use it without one, in two that end, and without one again."""
        with self._server() as server, self._session(server) as session:
            at_once = server.answer

            def late(asked: Asked) -> Any:
                time.sleep(0.05)  # what belongs to another loop shows where it has to wait
                return at_once(asked)

            server.answer = late
            session.chat(_PROMPT)
            for _ in range(2):
                asyncio.run(session.achat(_PROMPT))
            session.chat(_PROMPT)

    def test_what_was_asked_for_is_not_changed(self) -> None:
        """Build two sessions of one request, as two workers that are sent it would."""
        with self._server() as server, _nothing_around():
            arguments: dict[str, Any] = {**self._given(), **self.arguments}
            request = mellea_api.session_request(
                self.backend,
                self.model,
                base_url=f"{server.address}{self.path}",
                registry=self._registry(),
                **arguments,
            )
            before = copy.deepcopy((request.target.settings, request.options))
            for _ in range(2):
                session = mellea_api.build_session(request, registry=self._registry())
                session.cleanup()
                after = (request.target.settings, request.options)
                assert after == before, "create_session changed its request"

    def test_a_session_that_is_closed_closes_no_other(self) -> None:
        """Open two, and clean up one."""
        with self._server() as server, self._session(server) as session:
            with self._session(server) as other:
                assert other.backend is not session.backend
                other.chat(_PROMPT)
            session.chat(_PROMPT)

    # --------------------------------------------------------------------------------- helpers

    def _found(self) -> Backend:
        return self._registry().backend(self.backend)

    def _registry(self) -> Registry:
        return registry_without_extensions(self.backend, self.registry)

    def _server(self) -> LoopbackServer:
        return LoopbackServer(self.answer)

    def _given(self) -> dict[str, str]:
        fields = self._found().descriptor.credentials
        return {
            field.name: self.credentials.get(field.name, f"canary-{field.name}-0123456789abcdef")
            for field in fields
            if field.secret or field.required != "never" or field.name in self.credentials
        }

    def _canaries(self) -> list[str]:
        secret = {field.name for field in self._found().descriptor.credentials if field.secret}
        return [value for name, value in self._given().items() if name in secret]

    @contextlib.contextmanager
    def _session(self, server: LoopbackServer, timeout: float | None = None) -> Iterator[Any]:
        with self._session_at(f"{server.address}{self.path}", timeout) as session:
            yield session

    @contextlib.contextmanager
    def _session_at(self, address: str, timeout: float | None = None) -> Iterator[Any]:
        arguments: dict[str, Any] = {**self._given(), **self.arguments}
        with _nothing_around():
            session = mellea_api.start_session(
                self.backend,
                self.model,
                base_url=address,
                registry=self._registry(),
                timeout=timeout,
                **arguments,
            )
            try:
                yield session
            finally:
                session.cleanup()

    def _questions(self, server: LoopbackServer) -> Iterator[tuple[str, Callable[[], Any]]]:
        """Yield what is asked of a server beside calls."""
        found = self._found()
        target = found.target(
            self.model, f"{server.address}{self.path}", settings=dict(self.arguments)
        )
        yield "opening a session", lambda: self._session(server).__enter__().cleanup()
        yield "listing models", lambda: found.list_models(target, self._given(), keyring=False)
        yield (
            "probing credentials",
            lambda: found.validate_credentials(target, self._given(), probe=True, keyring=False),
        )

    def _supported(self) -> list[OptionListing]:
        target = self._found().target(self.model)
        return [
            option
            for option in list_options(target, "chat")
            if option.supported and option.rule.name not in _APART and _example(option) is not None
        ]

    def _sent(self, server: LoopbackServer, session: Any, options: Mapping[str, Any]) -> Any:
        """Return the body of the one request that a call makes."""
        before = len(server.asked)
        session.chat(_PROMPT, model_options=dict(options))
        made = server.asked[before:]
        assert len(made) == 1, f"{dict(options)}: one call made {len(made)} requests"
        assert isinstance(made[0].body, dict), f"{dict(options)}: {made[0].body!r} is no object"
        return made[0].body

    def _outcome(self, use: Callable[[], Any]) -> BaseException | None:
        """Return what it raised, once neither that nor what was logged shows a secret."""
        shown: list[str] = []
        handler = logging.Handler()
        handler.emit = lambda record: shown.append(_written(record))  # type: ignore[method-assign]
        root = logging.getLogger()
        root.addHandler(handler)
        raised: BaseException | None = None
        try:
            with _nothing_around():
                use()
        except Exception as error:
            raised = error
            shown += [repr(error), "".join(traceback.format_exception(error))]
        finally:
            root.removeHandler(handler)
        for canary in self._canaries():
            bare = [text for text in shown if canary in text]
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


def _example(option: OptionListing) -> Any:
    """Return a value that an option takes; None where nobody can think of one."""
    if option.limits.choices:
        return option.limits.choices[0]
    value = _EXAMPLES.get(option.limits.type)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    if option.limits.maximum is not None:
        value = min(value, option.limits.maximum)
    if option.limits.minimum is not None and value < option.limits.minimum:
        value = option.limits.minimum + (1 if option.limits.exclusive_minimum else 0)
    return int(value) if option.limits.type == "integer" else value


def _beside(option: OptionListing) -> dict[str, Any]:
    """Return what an option needs beside it."""
    needed = {
        name: [one for one in values if one is not None]
        for name, values in option.rule.requires.items()
    }
    return {name: values[0] for name, values in needed.items() if values}


def _is_within(value: Any, sent: Any) -> bool:
    """Return whether a place holds what a report says, among other things."""
    if isinstance(value, Mapping) and isinstance(sent, Mapping):
        return all(name in sent and _is_within(one, sent[name]) for name, one in value.items())
    return bool(value == sent)


def _replying(reply: Reply) -> Callable[[Asked], Reply]:
    return lambda asked: reply


def _refusing(status: int) -> Callable[[Asked], Reply]:
    def refuse(asked: Asked) -> Reply:
        sent = ", ".join(f"{name}={value}" for name, value in asked.headers.items())
        words = f"Refused. You sent {sent} to {asked.path}"
        return Reply(status=status, body={"error": {"message": words}, "message": words})

    return refuse


def _written(record: logging.LogRecord) -> str:
    try:
        text = record.getMessage()
    except Exception as error:
        text = f"{record.msg} {record.args} ({error})"
    trace = traceback.format_exception(record.exc_info[1]) if record.exc_info else []
    return text + "".join(trace)


@contextlib.contextmanager
def _nothing_around() -> Iterator[None]:
    """Hide a developer's proxies, which would be asked for what is on this machine."""
    proxies = {name: "" for name in os.environ if name.lower().endswith("_proxy")}
    with mock.patch.dict(os.environ, {**proxies, "NO_PROXY": "*"}):
        yield
