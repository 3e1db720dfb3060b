"""Keyrings of the `keyring` library's own kind: one in memory that can misbehave, one in a file for other processes."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

from keyring.backend import KeyringBackend
from keyring.errors import PasswordDeleteError


class MemoryKeyring(KeyringBackend):  # type: ignore[misc]
    """Holds values in memory, and notes what it is asked for.

    Attributes:
        values: By service and user name.
        asked: The user names that were asked for.
        failure: Raised instead of an answer, if it is set.
        gate: Waited for before an answer.
    """

    priority = 1  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[tuple[str, str], Any] = {}
        self.asked: list[str] = []
        self.failure: BaseException | None = None
        self.gate = threading.Event()
        self.gate.set()

    def _open(self) -> None:
        self.gate.wait(30)
        if self.failure is not None:
            raise self.failure

    def get_password(self, service: str, username: str) -> Any:
        self.asked.append(username)
        self._open()
        return self.values.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self._open()
        self.values[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        self._open()
        if (service, username) not in self.values:
            raise PasswordDeleteError("there is none")
        del self.values[service, username]


class FileKeyring(MemoryKeyring):
    """Holds values in the file that `TEST_KEYRING` names."""

    def _path(self) -> Path:
        return Path(os.environ["TEST_KEYRING"])

    def _open(self) -> None:
        if self._path().exists():
            held = json.loads(self._path().read_text("utf-8"))
            self.values = {(service, name): value for service, name, value in held}

    def set_password(self, service: str, username: str, password: str) -> None:
        super().set_password(service, username, password)
        self._write()

    def delete_password(self, service: str, username: str) -> None:
        super().delete_password(service, username)
        self._write()

    def _write(self) -> None:
        held = [[service, name, value] for (service, name), value in self.values.items()]
        self._path().write_text(json.dumps(held), "utf-8")
