"""What providers said about their models, kept on disk for this and other processes.

Each answer is a JSON file; a damaged one costs one question to the provider. The name of a file is
a digest of all that the answer depends on: backend, address, settings and credentials.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from attrs import asdict, evolve, frozen

from mellea_api._contract.descriptor import ModelInfo
from mellea_api._contract.errors import cannot_use
from mellea_api._contract.requests import Target
from mellea_api._provider.folder import OwnFolder
from mellea_api._secrecy.logs import logger
from mellea_api._secrecy.secrets import Secret, redact

SCHEMA: Final = 2
"""The version of the files' form; a file of another version is not read."""
_VARIABLE: Final = "MELLEA_API_MODELS_LIFETIME"
_reported: Final[set[Path]] = set()


@frozen
class KeptModels:
    """A list that a provider gave.

    Args:
        models: The models, labelled with their age.
        fresh: Whether it is young enough to stand for an answer.
    """

    models: tuple[ModelInfo, ...]
    fresh: bool


def default_cache() -> ModelCache:
    """Return the user's cache, with the lifetime that the environment says.

    Raises:
        ConfigurationError: If the lifetime is not a number of seconds, 0 or more.
    """
    import platformdirs

    text = os.environ.get(_VARIABLE, "").strip()
    try:
        lifetime = float(text) if text else 3600.0
    except ValueError:
        lifetime = -1.0
    if not 0 <= lifetime < float("inf"):
        raise cannot_use(_VARIABLE, text, "Set it to a number of seconds, 0 to ask every time.")
    folder = platformdirs.user_cache_path("mellea-api", appauthor=False) / "models"
    return ModelCache(folder, lifetime=lifetime)


class ModelCache:
    """The answers in one folder. Safe to use from many threads and processes.

    It raises nothing because of the folder: what cannot be read is not there, what cannot be
    written is not kept, and the log says so once.

    Args:
        folder: Where it is: see `OwnFolder`.
        lifetime: Seconds for which a list stands for an answer.
    """

    def __init__(self, folder: Path, *, lifetime: float = 3600.0) -> None:
        self._folder = folder
        self._files = OwnFolder(folder)
        self._lifetime = lifetime

    def key(self, target: Target, credentials: Mapping[str, Secret]) -> str | None:
        """Return the name under which an answer is kept; None if a setting is a live object.

        Args:
            target: Backend, server and settings; its model does not count.
            credentials: What was found, by field name.
        """
        descriptor = target.descriptor
        facts = [
            descriptor.name,
            (target.base_url or descriptor.base_url or "").rstrip("/"),
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
        except (TypeError, ValueError, RecursionError):
            return None
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def models(self, key: str) -> KeptModels | None:
        """Return the list that was kept, of whatever age, or None."""
        name = f"{key}.json"
        try:
            entry = json.loads(self._files.read(name))
            if entry["schema"] != SCHEMA:
                raise ValueError("another version wrote it")
            written = entry["written"]
            if isinstance(written, bool) or not math.isfinite(written):
                raise ValueError("it does not say when it was written")
            age = time.time() - written
            models = tuple(_model(row, max(0.0, age)) for row in entry["models"])
            return KeptModels(models, fresh=0 <= age < self._lifetime)  # clocks are set back, too
        except FileNotFoundError:
            pass
        except OSError as error:
            self._report(f"it cannot be read ({error.strerror or error})")
        except Exception as error:  # anybody may have written anything
            self._report(f"{name} cannot be read ({type(error).__name__})")
        return None

    def keep(self, key: str, models: Sequence[ModelInfo]) -> None:
        """Keep a list that a provider gave just now."""
        # A server may repeat what it was sent, in a name too.
        rows = [
            {name: redact(fact) if isinstance(fact, str) else fact for name, fact in row.items()}
            for row in map(asdict, models)
        ]
        entry = {"schema": SCHEMA, "written": time.time(), "models": rows}
        try:
            self._files.keep(f"{key}.json", json.dumps(entry))
        except OSError as error:
            self._report(f"it cannot be written ({error.strerror or error})")

    def _report(self, problem: str) -> None:
        if self._folder not in _reported:
            _reported.add(self._folder)
            logger.warning(
                "The cache of model lists in %s does not work, and is not used: %s.",
                *(self._folder, problem),
            )


def _model(row: Mapping[str, object], age: float) -> ModelInfo:
    model = ModelInfo(**row)  # type: ignore[arg-type]
    if not isinstance(model.id, str):
        raise TypeError("the id of a model is text")
    return evolve(model, source="cached", age=age) if model.source == "live" else model
