"""What providers said about their models, kept on disk for this and other processes.

Each answer is a JSON file of its own, written beside its place and then moved there by
`os.replace`: a reader sees the old file or the new one, whatever happens in between, and the last
writer wins, which for an answer is right. So neither reading nor writing takes a lock, and an
entry that is damaged costs one question to the provider. The `filelock` library keeps processes
that start together from asking one provider all at once, and from making two salts; its locks end
with their process.

What was weighed and left: SQLite keeps all in one file, so that what damages it costs everything,
it cannot be thrown away while another process has it open, and its journal and shared memory are
trouble on network file systems; diskcache is SQLite with pickles in it.

The name of a file is a digest of all that the answer depends on: backend, address, settings and
credentials, under a key that is made with the cache and never leaves it. So a credential, or an
address with a password in it, is nowhere in the cache, and nobody can compare two machines'.
"""

from __future__ import annotations

import contextlib
import fnmatch
import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from attrs import evolve, frozen

from mellea_api._contract import errors
from mellea_api._contract.descriptor import ModelInfo
from mellea_api._contract.requests import Target
from mellea_api._models.folder import Folder
from mellea_api._secrecy.secrets import Secret, redact

SCHEMA: Final = 1
"""The version of the files' form; a file of another version is none to us."""
_SALT_BYTES: Final = 32


@frozen
class KeptModels:
    """A list that a provider gave.

    Args:
        models: The models, labelled with their age.
        age: Seconds since then.
        fresh: Whether it still counts as an answer.
    """

    models: tuple[ModelInfo, ...]
    age: float
    fresh: bool


@frozen
class KeptFailure:
    """Why a provider gave no list.

    Args:
        error: The typed reason.
        age: Seconds since then.
        fresh: Whether it still counts as an answer.
    """

    error: errors.ProviderError
    age: float
    fresh: bool


class ModelCache:
    """The answers in one folder. Safe to use from many threads and processes.

    Nothing here raises because of the folder: what cannot be read is not there, what cannot be
    written is not kept, and the log says so once.

    Args:
        folder: Where it is; made when something is first kept, and for its owner alone.
        lifetime: Seconds for which a list counts as an answer.
        failure_lifetime: Seconds for which a failure does.
        clock: Tells the time in seconds since 1970, for all processes alike.
    """

    def __init__(
        self,
        folder: Path,
        *,
        lifetime: float = 3600.0,
        failure_lifetime: float = 30.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._folder = Folder(folder)
        self._lifetime = lifetime
        # Whoever wants every list asked for wants no failure repeated, either.
        self._failure_lifetime = min(failure_lifetime, lifetime)
        self._clock = clock

    # What an answer depends on.

    def key(
        self, target: Target, credentials: Mapping[str, Secret], *, make: bool = True
    ) -> str | None:
        """Return the name under which an answer is kept; None if it cannot be kept.

        Args:
            target: Backend, server and settings; its model does not count.
            credentials: What was found, by field name.
            make: Whether the cache is made where there is none yet.
        """
        descriptor = target.descriptor
        facts = [
            descriptor.name,
            (target.base_url or descriptor.default_base_url or "").rstrip("/"),
            target.server,
            dict(target.settings),
            {name: secret.reveal() for name, secret in credentials.items()},
            {
                name: value
                for name, value in os.environ.items()
                if any(fnmatch.fnmatchcase(name, glob) for glob in descriptor.list_variables)
            },
        ]
        try:
            text = json.dumps(facts, sort_keys=True)
        except (TypeError, ValueError, RecursionError):  # a setting is a live object
            return None
        salt = self._salt(make)
        if salt is None:
            return None
        return hashlib.blake2b(text.encode(), key=salt, digest_size=16).hexdigest()

    def _salt(self, make: bool) -> bytes | None:
        """Return the cache's own key."""
        salt = self._folder.read("salt")
        if salt is None or len(salt) != _SALT_BYTES:
            if not make or not self._folder.make():
                return None
            with self._folder.alone("salt", 5.0):
                salt = self._folder.read("salt")  # another process may have made one meanwhile
                if salt is None or len(salt) != _SALT_BYTES:
                    self._folder.write("salt", os.urandom(_SALT_BYTES))
                    salt = self._folder.read("salt")
        return salt if salt is not None and len(salt) == _SALT_BYTES else None

    # Answers.

    def models(self, key: str) -> KeptModels | None:
        """Return the list that was kept, of whatever age, or None."""
        found = self._load(f"{key}.models.json", "models", _models)
        if found is None:
            return None
        value, written = found
        age = max(0.0, self._clock() - written)
        models = tuple(
            evolve(model, source="cached", age=age) if model.source == "live" else model
            for model in value
        )
        return KeptModels(models, age, self._is_fresh(written, self._lifetime))

    def failure(self, key: str) -> KeptFailure | None:
        """Return the failure that was kept, of whatever age, or None."""
        found = self._load(f"{key}.failure.json", "error", _error)
        if found is None:
            return None
        error, written = found
        age = max(0.0, self._clock() - written)
        return KeptFailure(error, age, self._is_fresh(written, self._failure_lifetime))

    def keep_models(self, key: str, models: Sequence[ModelInfo]) -> None:
        """Keep a list that a provider gave just now; it puts an end to a failure."""
        from mellea_api._contract.converter import converter

        self._store(f"{key}.models.json", "models", converter().unstructure(models))
        self._folder.remove(f"{key}.failure.json")

    def keep_failure(self, key: str, error: errors.ProviderError) -> None:
        """Keep the reason why a provider gave no list just now; its last list stays."""
        from mellea_api._contract.converter import converter

        # Of a plugin's own kind, the kind of this library that it is.
        kinds = (kind.__name__ for kind in type(error).__mro__ if kind.__name__ in vars(errors))
        facts = {**converter().unstructure(error), "type": next(kinds)}
        self._store(f"{key}.failure.json", "error", facts)

    def alone(self, key: str, patience: float) -> contextlib.AbstractContextManager[bool]:
        """Keep others from asking the same at the same time: see `Folder.alone`."""
        return self._folder.alone(key, patience)

    def _is_fresh(self, written: float, lifetime: float) -> bool:
        return 0 <= self._clock() - written < lifetime  # clocks are set back, too

    def _load(self, name: str, field: str, read: Callable[[Any], Any]) -> tuple[Any, float] | None:
        raw = self._folder.read(name)
        if raw is None:
            return None
        try:
            found = json.loads(raw)
            version = found.get("schema")
            if version != SCHEMA:
                self._folder.report(f"it has entries of another version, {version!r:.20}")
                return None
            written = found["written"]
            if isinstance(written, bool) or not math.isfinite(written):
                raise ValueError("it does not say when it was written")
            return read(found[field]), float(written)
        except Exception as error:  # anybody may have written anything
            self._folder.report(f"{name} cannot be read: {type(error).__name__}")
            return None

    def _store(self, name: str, field: str, value: Any) -> None:
        entry = {"schema": SCHEMA, "written": self._clock(), field: _masked(value)}
        self._folder.write(name, json.dumps(entry).encode())
        self._folder.forget_old(but="salt")


def _masked(value: Any) -> Any:
    """Mask the secrets in what a server said: it may repeat what it was sent, in a name too."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, list):
        return [_masked(item) for item in value]
    return {k: _masked(v) for k, v in value.items()} if isinstance(value, dict) else value


def _models(value: Any) -> tuple[ModelInfo, ...]:
    from mellea_api._contract.converter import converter

    found: tuple[ModelInfo, ...] = converter().structure(value, tuple[ModelInfo, ...])
    return found


def _error(value: Any) -> errors.ProviderError:
    """Return a kept error: one of this library's own kinds, and its facts."""
    kind = getattr(errors, value["type"]) if value["type"] in vars(errors) else None
    if not isinstance(kind, type) or not issubclass(kind, errors.ProviderError):
        raise ValueError("no error of a provider")
    facts = {name: value.get(name) for name in kind.facts}
    facts = {name: tuple(fact) if isinstance(fact, list) else fact for name, fact in facts.items()}
    return kind(str(value["reason"]), next_step=str(value["next_step"]), **facts)
