"""The sessions that a runtime owns: the one in use, and a few that it used before."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

from attrs import frozen

from mellea_api._api.selection import Selection
from mellea_api._contract.errors import SessionClosedError
from mellea_api._secrecy.logs import under_run
from mellea_api._sessions._mellea.clients import close
from mellea_api._sessions._mellea.sessions import apply_context
from mellea_api._sessions.adoption import Adoption, adoption_of

if TYPE_CHECKING:
    from mellea import MelleaSession


_KEPT: Final = 4
"""How many backends are kept open, so that going back to one costs nothing."""


@frozen(eq=False)
class OpenSession:
    """A session, and the request that it was built for.

    Args:
        selection: Backend, model and options.
        session: Mellea's session on it.
    """

    selection: Selection
    session: MelleaSession

    @property
    def adoption(self) -> Adoption:
        """What the core keeps with the session's backend."""
        found = adoption_of(self.session.backend)
        assert found is not None
        return found


class OpenSessions:
    """The sessions of one runtime, closed as the last call on each ends. Safe to share.

    Args:
        first: The session to begin with.
        run_id: The run that closing them belongs to.
    """

    def __init__(self, first: OpenSession, run_id: str | None) -> None:
        self._run_id = run_id
        self._lock = threading.RLock()
        self._open = OrderedDict({first.selection.key: first})
        self._current = first
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether they were closed."""
        return self._closed

    @property
    def selection(self) -> Selection:
        """What is in use, or was when they were closed."""
        return self._current.selection

    def current(self) -> OpenSession:
        """Return the session in use.

        Raises:
            SessionClosedError: If they were closed.
        """
        with self._lock:
            if self._closed:
                backend = self.selection.request.target.backend
                raise SessionClosedError(
                    "Cannot use this runtime: it was cleaned up.",
                    next_step="Make a new MelleaRuntime.",
                    backend=backend,
                )
            return self._current

    @contextlib.contextmanager
    def in_call(self) -> Iterator[OpenSession]:
        """Use the current session for a call: it is not closed before the call has ended.

        Raises:
            SessionClosedError: If they were closed.
        """
        with contextlib.ExitStack() as stack:
            with self._lock:  # so that no switch closes the backend before the call counts
                found = self.current()
                stack.enter_context(found.adoption.counted())
            yield found

    def find(self, selection: Selection) -> MelleaSession | None:
        """Return the session that is kept for a selection, if there is one."""
        with self._lock:
            found = self._open.get(selection.key)
        return None if found is None else found.session

    def change_to(self, wanted: OpenSession) -> None:
        """Go on with another session, in the context of the one in use.

        Raises:
            SessionClosedError: If they were closed; the new one is then closed too.
        """
        ended = []
        with self._lock:
            if self._closed:
                ended.append(wanted)
            else:
                # The newest context: a call may have ended while the new session was built.
                apply_context(wanted.session, self._current.session.ctx)
                self._current = self._open[wanted.selection.key] = wanted
                self._open.move_to_end(wanted.selection.key)
                while len(self._open) > _KEPT:
                    ended.append(self._open.popitem(last=False)[1])
        self._close(ended)
        self.current()

    def close(self) -> None:
        """Take no more calls, and close each backend as its last call ends."""
        with self._lock:
            self._closed = True
            ended = list(self._open.values())
            self._open.clear()
        self._close(ended)

    def _close(self, ended: Iterable[OpenSession]) -> None:
        # Never under the lock: a client is closed on the event loop that used it, and that one
        # may be waiting for the lock.
        with under_run(self._run_id):
            for found in ended:
                found.session.reset()
                found.adoption.close(functools.partial(self._close_backend, found))

    def _close_backend(self, ended: OpenSession) -> None:
        with under_run(self._run_id):
            ended.adoption.stop_watching()
            close(ended.session.backend)
