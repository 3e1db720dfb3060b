"""The fault suite: each backend against each fault of `fault_table`, on every way that asks its server.

A plugin's `test_faults.py` subclasses `FaultSuite`, says how its good server and a session on it are made, and where its
answer to a fault is another than the table's, with the reason.
"""

from __future__ import annotations

import logging
import pickle
import resource
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar

import pytest
from support.fault_table import CERTIFICATES, FAULTS, MIDDLE, Fault, Faulty, Stranger, switched
from support.http import Recorded
from support.left_over import nothing_left

SECRET = "sk-canary-4f1d2c3b5a69788796a5b4c3d2e1f0"
TIMEOUT = 0.3
"""Seconds that a call on a server that never answers is given."""
LATEST = 30.0
"""Seconds after which such a call has hung: these machines are busy, and this is far beyond."""
MOST_MEMORY = 700 * 2**20
"""Bytes that an answer of gigabytes may take."""
ANSWER = "one two three four five six seven eight"


class Subject:
    """One backend, its good server and an open session on it.

    Attributes:
        backend: Its name.
        server: The server.
        stranger: Where redirects lead.
        arguments: What a session, a list of models and a probe are given.
        only_sessions: What only a session is given.
        only_lists: What only a list of models is given.
        environment: The user's variables.
        places: By operation, the only path that misbehaves then; the operation is what comes before ":".
        session: A session that stays open through all faults.
    """

    def __init__(
        self, backend: str, model: str, server: Faulty, arguments: Mapping[str, Any]
    ) -> None:
        self.backend, self.model, self.server = backend, model, server
        self.arguments = dict(arguments)
        self.only_sessions: dict[str, Any] = {}
        self.only_lists: dict[str, Any] = {}
        self.environment: dict[str, str] = {}
        self.places: dict[str, str] = {}
        server.secret = SECRET
        self.stranger = Stranger(server)
        self.session: Any = None

    def start(self, timeout: float | None = None) -> Any:
        """A new session."""
        import mellea_api

        return mellea_api.start_session(
            self.backend, self.model, timeout=timeout, **self.arguments, **self.only_sessions
        )

    def set_environment(self, patch: pytest.MonkeyPatch) -> None:
        """Sets the user's variables."""
        for name, value in self.environment.items():
            patch.setenv(name, value)

    def do(self, operation: str, timeout: float) -> Any:
        """Asks the server for something."""
        import mellea_api
        from mellea_api import stream_chat
        from mellea_api._sessions.adoption import adoption_of

        self.server.only = self.places.get(operation, "")
        operation = operation.partition(":")[0]
        if operation == "open":
            return self.start(timeout)
        if operation == "list":
            return mellea_api.list_models(
                self.backend, timeout=timeout, **self.arguments, **self.only_lists
            )
        if operation == "probe":
            return mellea_api.validate_credentials(
                self.backend, self.model, probe=True, timeout=timeout, **self.arguments
            )
        adoption = adoption_of(self.session.backend)
        assert adoption is not None
        adoption.timeout = timeout
        try:
            if operation == "chat":
                return self.session.chat("Hello!").content
            return "".join(stream_chat(self.session, "Hello!"))
        finally:
            adoption.timeout = None


class FaultSuite:
    """See the module.

    Attributes:
        expected: By operation and fault, the error's class where it is not the table's; `None` where
            the operation goes on without an answer.
        operations: Those that ask the server.
    """

    expected: ClassVar[Mapping[tuple[str, str], str | None]] = {}
    operations: ClassVar[tuple[str, ...]] = ("open", "list", "probe", "chat", "stream")

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Every fault on every operation."""
        if "operation" in metafunc.fixturenames:
            metafunc.parametrize("operation", self.operations)

    @classmethod
    def make(cls, stack: ExitStack) -> Subject:
        """The backend and its server, until the stack is closed."""
        raise NotImplementedError

    @classmethod
    def make_secure(cls, stack: ExitStack, folder: Path) -> Subject:
        """The same at a server that is reached by https, which the client trusts."""
        raise NotImplementedError

    @pytest.fixture(scope="class")
    @classmethod
    def opened(cls) -> Iterator[Subject]:
        """The backend, with a session on it that has answered once."""
        with ExitStack() as stack:
            yield cls._opened(stack, cls.make(stack))

    @pytest.fixture(scope="class")
    @classmethod
    def opened_securely(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subject]:
        """The same by https."""
        with ExitStack() as stack:
            folder = tmp_path_factory.mktemp("authority")
            yield cls._opened(stack, cls.make_secure(stack, folder))

    @classmethod
    def _opened(cls, stack: ExitStack, subject: Subject) -> Subject:
        with pytest.MonkeyPatch.context() as patch:
            subject.set_environment(patch)
            stack.enter_context(subject.stranger)
            subject.session = subject.start()
            stack.callback(subject.session.cleanup)
            cls.answers(subject)
        return subject

    @pytest.fixture
    def subject(self, opened: Subject, monkeypatch: pytest.MonkeyPatch) -> Subject:
        """The backend, in the environment of its user."""
        opened.set_environment(monkeypatch)
        return opened

    @pytest.fixture
    def secure(self, opened_securely: Subject, monkeypatch: pytest.MonkeyPatch) -> Subject:
        """The same by https."""
        opened_securely.set_environment(monkeypatch)
        return opened_securely

    @staticmethod
    def answers(subject: Subject) -> None:
        """The session answers, as a whole and as a stream."""
        assert subject.do("chat", LATEST) == ANSWER
        assert subject.do("stream", LATEST) == ANSWER

    @pytest.mark.parametrize("fault", FAULTS, ids=str)
    def test_a_fault(
        self, subject: Subject, fault: Fault, operation: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        self.one_error(subject, fault, operation, fault.name, caplog)

    @pytest.mark.parametrize("fault", CERTIFICATES, ids=str)
    def test_a_certificate_that_is_wrong(
        self, secure: Subject, fault: Fault, operation: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        before = len(secure.server.requests)
        with switched(secure.server, fault):
            said = self.provoke(secure, fault, operation, fault.name)
        assert "certificate" in said.lower()
        assert len(secure.server.requests) == before, "it was sent something all the same"
        self.keeps_quiet(secure, said, caplog)
        self.answers(secure)

    @pytest.mark.parametrize("fault", MIDDLE, ids=str)
    def test_a_fault_in_the_middle_of_a_stream(
        self, subject: Subject, fault: Fault, caplog: pytest.LogCaptureFixture
    ) -> None:
        self.one_error(subject, fault, "stream", f"middle_{fault.name}", caplog)

    def test_a_runtime_that_met_faults_is_cleaned_up_without_a_trace(
        self, subject: Subject
    ) -> None:
        from mellea_api.runtime import MelleaRuntime

        shared = subject.session
        given = {**subject.arguments, **subject.only_sessions}
        with nothing_left():
            runtime = MelleaRuntime(subject.backend, subject.model, **given)
            subject.session = runtime.session
            try:
                self.answers(subject)
                for fault in MIDDLE:
                    if fault.name != "gzip_bomb":
                        with switched(subject.server, fault):
                            self.provoke(subject, fault, "stream", f"middle_{fault.name}")
                self.answers(subject)
            finally:
                subject.session = shared
                runtime.cleanup()
        self.answers(subject)

    def one_error(
        self,
        subject: Subject,
        fault: Fault,
        operation: str,
        name: str,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """One typed error, in time, that shows nothing and leaves nothing; then all is well again."""
        caplog.set_level(logging.INFO)
        caplog.set_level(logging.DEBUG, logger="mellea_api")
        subject.stranger.clear()
        memory = peak_memory()
        with nothing_left():
            with switched(subject.server, fault):
                said = self.provoke(subject, fault, operation, name)
            self.keeps_quiet(subject, said, caplog)
            self.answers(subject)
        assert peak_memory() - memory < MOST_MEMORY
        for request in subject.stranger.requests:
            no_secret_in(request)

    def provoke(self, subject: Subject, fault: Fault, operation: str, name: str) -> str:
        """Does it on the bad server; the error, once it is what it should be, in full."""
        import mellea_api

        kind = self.expected.get((operation, name), self.expected.get(("*", name), fault.kind))
        began = time.monotonic()
        answer: Any = None
        try:
            answer = subject.do(operation, TIMEOUT if fault.hangs else LATEST)
        except mellea_api.MelleaAPIError as error:
            caught = error
        else:
            took = time.monotonic() - began
            if operation == "probe":
                assert took < LATEST
                return self.reported(answer, fault, kind)
            assert kind is None, f"it answered {answer!r}"
            getattr(answer, "cleanup", lambda: None)()
            return ""
        assert time.monotonic() - began < LATEST
        assert operation != "probe", f"a probe reports, and raises nothing: {caught!r}"
        assert type(caught).__name__ == kind, repr(caught)
        assert caught.backend == subject.backend
        assert caught.next_step
        assert str(caught).endswith(caught.next_step)
        assert ": ." not in str(caught), "an empty reason"
        assert "None" not in str(caught).split()
        if fault.status is not None and fault.status >= 400:
            assert caught.status == fault.status  # type: ignore[attr-defined]
        if fault.hangs:
            assert caught.timeout == TIMEOUT  # type: ignore[attr-defined]
        with_all = "".join(traceback.format_exception(caught))
        return f"{caught}\n{caught!r}\n{with_all}\n{pickle.dumps(caught)!r}"

    def reported(self, report: Any, fault: Fault, kind: str | None) -> str:
        """What a probe says: never that all is well, and always why."""
        statuses = {"CredentialError": "rejected", "PermissionDeniedError": "forbidden"}
        allowed = {statuses[kind]} if kind in statuses else {"unreachable", "unchecked"}
        if kind is None:
            allowed |= {"present", "not-needed"}
        assert report.status in allowed, report
        assert report.message
        return f"{report}\n{report!r}\n{report.message}"

    def keeps_quiet(self, subject: Subject, said: str, caplog: pytest.LogCaptureFixture) -> None:
        """The secret is in nothing that was said."""
        assert SECRET not in said
        for record in caplog.records:
            assert SECRET not in record.getMessage(), record
            assert SECRET not in f"{record.exc_info}{record.exc_text}"


def no_secret_in(request: Recorded) -> None:
    """What was sent to a stranger has no credential in it."""
    sent = f"{request.path} {request.query} {request.headers} {request.body!r}"
    assert SECRET not in sent
    assert not {"authorization", "x-api-key", "api-key", "cookie"} & set(request.headers)


def peak_memory() -> int:
    """The most that this process has had in memory so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
