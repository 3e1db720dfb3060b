"""What a backend with a server promises, as pytest tests: subclass, and write `answer`.

    from mellea_api.testing import ServerContract, openai_answer

    class TestMine(ServerContract):
        backend = "mine"
        path = "/v1"

        def answer(self, asked):
            return openai_answer(asked, models=("mine-1",))

A real session of Mellea, with your SDK, talks to a server on 127.0.0.1. The server answers as you
say, and then as servers should not. There is no other network, and no key is needed.
"""

from __future__ import annotations

import asyncio
import copy
import functools
import json
import socket
import time
from collections.abc import Mapping
from typing import Any

import mellea_api
from mellea_api._contract import errors
from mellea_api.testing._server_harness import (
    APART,
    PROMPT,
    ServerHarness,
    always,
    changed,
    is_within,
    needed_beside,
    no_proxies,
    refusing,
)
from mellea_api.testing.contract import example_of
from mellea_api.testing.hostile import HOSTILE
from mellea_api.testing.loopback import Asked, Reply

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


class ServerContract(ServerHarness):
    """The tests. A subclass names its backend, whose plugin must be installed, and `answer`."""

    def test_what_the_report_says_is_what_is_sent(self) -> None:
        """Give each option that `mellea-api options` lists, alone; look at the request's JSON."""
        with self._server() as server, self._session(server) as session:
            plain, again = (self._sent(server, session, {}) for _ in range(2))
            changing = {name for name in plain if again.get(name) != plain[name]}
            for option in self._supported_options():
                given = {option.rule.name: example_of(option), **needed_beside(option)}
                try:
                    body = self._sent(server, session, given)
                except errors.OptionError:
                    continue  # it needs another one beside it, or takes nothing of the kind
                report = mellea_api.options_report(session)
                assert report is not None, "the call did not go through the library"
                for name, value in report.wire.items():
                    if name in APART:
                        continue
                    assert name in body, f"{given}: {name} is in the report and was not sent"
                    assert is_within(value, body[name]), (
                        f"{given}: the report says {name}={value!r}, and {body[name]!r} was sent"
                    )
                more = {
                    name
                    for name, value in body.items()
                    if plain.get(name, value) != value or name not in plain
                }
                unsaid = more - changing - set(report.wire) - set(APART)
                assert not unsaid, f"{given}: {sorted(unsaid)} were sent and are not in the report"
                assert "@@@" not in json.dumps(body), f"{given}: a name of Mellea was sent"

    def test_what_a_server_refuses_is_an_error_that_shows_no_secret(self) -> None:
        """Refuse with each status, and repeat the credentials in the refusal, as some do."""
        with self._server() as server:
            for status, expected in _STATUSES.items():
                refusal = refusing(status)
                with self._session(server) as session:
                    server.answer = refusal
                    asked = len(server.asked)
                    self._fails(lambda: session.chat(PROMPT), expected, f"HTTP {status}")
                    count = len(server.asked) - asked
                    assert count == 1, f"HTTP {status}: one call was sent {count} times"
                    server.answer = self.answer
                    session.chat(PROMPT)  # it can be used afterwards
                server.answer = refusal
                for what, use in self._other_questions(server):
                    asked = len(server.asked)
                    error = self._outcome(use)
                    if error is not None and len(server.asked) > asked:
                        self._is_typed(error, errors.MelleaAPIError, f"{what}: HTTP {status}")
                server.answer = self.answer

    def test_what_is_no_answer_is_an_error_that_says_so(self) -> None:
        """Answer with what is no JSON, or JSON of another shape."""
        with self._server() as server, self._session(server) as session:
            for body in _NO_ANSWERS:
                server.answer = always(Reply(body=body))
                error = self._outcome(lambda: session.chat(PROMPT))
                if error is not None or not body.startswith((b"{}", b"[]", b"null")):
                    self._is_typed(error, errors.MelleaAPIError, f"the answer {body!r}")
                for what, use in self._other_questions(server):
                    error = self._outcome(use)
                    if error is not None:
                        self._is_typed(error, errors.MelleaAPIError, f"{what}: {body!r}")
                server.answer = self.answer
            session.chat(PROMPT)

    def test_an_answer_of_another_shape_is_complete_and_true_or_an_error(self) -> None:
        """Answer as `hostile` has it, whole and streamed."""
        wrong = []
        with self._server() as server, self._session(server, timeout=60.0) as session:

            def ask(streamed: bool) -> str:
                pieces = mellea_api.stream_chat(session, PROMPT) if streamed else ()
                return "".join(pieces) if streamed else str(session.chat(PROMPT).content)

            for streamed in (False, True):
                good = ask(streamed)
                for name, row in HOSTILE.items():
                    server.answer = changed(self.answer, row.change)
                    problem = row.problem(functools.partial(ask, streamed), good)
                    server.answer = self.answer
                    if problem:
                        wrong.append(f"{name}, {streamed=}: {problem}")
                assert ask(streamed) == good
        assert not wrong, "\n".join(wrong)

    def test_a_redirect_takes_neither_prompt_nor_credentials_along(self) -> None:
        """Send the caller on to another server."""
        with self._server() as other, self._server() as server, self._session(server) as session:
            for status in (301, 302, 307, 308):
                to = {"Location": f"{self._address(other)}/chat/completions"}
                server.answer = always(Reply(status=status, headers=to, body={}))
                self._fails(
                    lambda: session.chat(PROMPT), errors.MelleaAPIError, f"redirect {status}"
                )
                for _, use in self._other_questions(server):
                    self._outcome(use)
                assert not other.asked, f"HTTP {status}: {other.asked[0].path} was asked elsewhere"

    def test_a_server_that_is_not_there_is_an_error_that_says_so(self) -> None:
        """Go where nobody listens."""
        with socket.socket() as unused:  # bound, so that nobody else takes the port
            unused.bind(("127.0.0.1", 0))
            address = f"http://127.0.0.1:{unused.getsockname()[1]}{self.path}"

            def use() -> None:
                with self._session(address) as session:
                    session.chat(PROMPT)

            self._fails(use, errors.BackendUnavailableError, "nobody listens")

    def test_a_server_that_is_silent_is_given_up(self) -> None:
        """Give it `timeout=`, while a session is opened and in a call."""
        with self._server() as server, self._session(server, timeout=self.patience) as session:
            server.answer = always(Reply(silent=True))
            self._fails(lambda: session.chat(PROMPT), errors.RequestTimeoutError, "a silent server")

            def use() -> None:
                with self._session(server, timeout=0.3) as other:
                    other.chat(PROMPT)

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
            session.chat(PROMPT)
            for _ in range(2):
                asyncio.run(session.achat(PROMPT))
            session.chat(PROMPT)

    def test_what_was_asked_for_is_not_changed(self) -> None:
        """Build two sessions of one request, as two workers that are sent it would."""
        with self._server() as server, no_proxies():
            arguments: dict[str, Any] = {**self._credentials_given(), **self.arguments}
            request = mellea_api.session_request(
                self.backend,
                self.model,
                base_url=self._address(server),
                registry=self._backends(),
                **arguments,
            )
            before = copy.deepcopy((request.target.settings, request.options))
            for _ in range(2):
                session = mellea_api.build_session(request, registry=self._backends())
                session.cleanup()
                after = (request.target.settings, request.options)
                assert after == before, "create_session changed its request"

    def test_a_session_that_is_closed_closes_no_other(self) -> None:
        """Open two, and clean up one."""
        with self._server() as server, self._session(server) as session:
            with self._session(server) as other:
                assert other.backend is not session.backend
                other.chat(PROMPT)
            session.chat(PROMPT)
