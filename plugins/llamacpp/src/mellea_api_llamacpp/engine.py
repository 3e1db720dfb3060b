"""Engines: loaded models, each shared by all sessions that want the same.

llama.cpp listens on a port of its own even inside a process. So that nobody else can use it, it
takes a key that only this process knows. Calls go there, and not through the functions of
`xllamacpp.Server`: a call of those cannot be cancelled before the first piece of its answer.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import threading
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from mellea_api import BackendUnavailableError, ConfigurationError, Secret
from mellea_api_llamacpp.models import Header, read_header

_LONGEST_CONTEXT: Final = 8192
"""Tokens of context where nobody asked for more: memory is taken for all of them at once."""
_BATCH: Final = 512
"""Tokens of a prompt that are read at once. A call that is cancelled ends after a batch."""
_REST: Final = 256 * 2**20
"""Bytes that llama.cpp needs beside weights and context."""
_CGROUP: Final = Path("/sys/fs/cgroup")


@frozen
class Load:
    """How a model is loaded.

    Args:
        path: The file.
        context: Tokens that each call can see.
        parallel: Calls that generate at once.
        threads: Threads of the engine.
        gpu_layers: Layers on the GPU; -1 for all.
    """

    path: Path
    context: int
    parallel: int
    threads: int
    gpu_layers: int


class Engine:
    """A loaded model that answers on a port, until the last backend that holds it is closed.

    Args:
        load: How it is loaded.

    Attributes:
        address: Where it answers.
        key: The key that it takes.
        process: The process in which it is.

    Raises:
        ConfigurationError: If llama.cpp cannot load it.
    """

    def __init__(self, load: Load) -> None:
        import xllamacpp

        self._load, self._backends, self.process = load, 0, os.getpid()
        self.key = secrets.token_urlsafe()
        self._masked = Secret(self.key, source="engine")  # in all texts, as long as it lives
        settings = xllamacpp.CommonParams()
        settings.model.path = str(load.path)
        settings.hostnames, settings.port = ["127.0.0.1"], 0
        settings.api_keys = [self.key]
        settings.n_ctx, settings.n_parallel = load.context * load.parallel, load.parallel
        settings.n_gpu_layers = load.gpu_layers
        settings.n_batch = settings.n_ubatch = min(_BATCH, load.context)
        for threads in (settings.cpuparams, settings.cpuparams_batch):
            threads.n_threads, threads.poll = load.threads, 0  # polling would keep each core busy
        settings.cache_ram_mib = 0  # 8 GiB of old prompts otherwise
        settings.fit_params = False  # it would change what was asked for
        settings.warmup = settings.ui = settings.endpoint_slots = False
        settings.verbosity = -1
        try:
            self._server: Any = xllamacpp.Server(settings)
        except RuntimeError as error:
            raise _unusable(load.path, f"llama.cpp cannot load it ({error})") from error
        self.address = f"{self._server.listening_address}/v1"

    def check(self) -> None:
        """Check that the engine is this process's own.

        Raises:
            BackendUnavailableError: If it was loaded before a fork.
        """
        if self.process != os.getpid():
            raise BackendUnavailableError(
                "The model was loaded before this process was forked.",
                next_step="Start a session in this process.",
            )

    def hold(self) -> None:
        """Count a backend in."""
        with _lock:
            self._backends += 1

    def leave(self) -> None:
        """Count a backend out; the last one unloads the model, when a batch has been read."""
        with _lock:
            self._backends -= 1
            if self._backends or self.process != os.getpid():
                return
            _loaded.pop(self._load, None)
            last, self._server = [self._server], None
        last.clear()  # not under the lock: it waits for the engine


def _unusable(path: Path, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"Cannot use the file {path}: {why}.",
        next_step="Give a GGUF file of a model that llama.cpp knows, or get this one again.",
    )


_loaded: Final[dict[Load, Engine]] = {}
_lock: Final = threading.RLock()


def _keep_engines() -> None:
    """Keep the engines of the parent in a forked child: ending one waits for its threads."""
    for engine in _loaded.values():
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(engine._server))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_keep_engines)


def held(path: Path, context: int | None, **further: int) -> Engine:
    """Return the engine of a model, which is loaded if it was not; the caller holds it.

    Args:
        path: The model's file.
        context: Tokens that each call can see; None for the model's own, at most 8,192.
        further: What else there is to a `Load`.

    Raises:
        ConfigurationError: If the file cannot be used, or the model does not fit into memory.
    """
    try:
        header = read_header(path)
    except ValueError as error:
        raise _unusable(path, f"{error}") from error
    most = header.context or _LONGEST_CONTEXT
    if header.context and context and context > most:
        raise ConfigurationError(
            f"Cannot use context_window={context}: the model sees {most} tokens.",
            next_step=f"Give {most} at most.",
        )
    load = Load(path, context or min(most, _LONGEST_CONTEXT), **further)
    with _lock:
        found = _loaded.get(load)
        if found is None or found.process != os.getpid():
            _check_memory(load, header)
            found = _loaded[load] = Engine(load)
        found.hold()
        return found


def _check_memory(load: Load, header: Header) -> None:
    needed = header.bytes + load.context * load.parallel * header.bytes_of_token + _REST
    free = free_memory()
    if free is not None and needed > free:
        raise ConfigurationError(
            f"Cannot load {load.path}: it needs about {needed / 2**20:,.0f} MiB, and "
            f"{free / 2**20:,.0f} MiB are free.",
            next_step="Use a smaller model, or lower context_window= or parallel=.",
        )


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def free_memory() -> int | None:
    """Return the bytes that this process can still take, by its cgroup too; None if unknown."""
    found = []
    with contextlib.suppress(OSError, ValueError):
        lines = Path("/proc/meminfo").read_text().splitlines()
        about = dict(line.split(":", 1) for line in lines)
        found.append(int(about["MemAvailable"].split()[0]) * 1024)
    with contextlib.suppress(OSError, ValueError):
        most, used = (int((_CGROUP / f"memory.{name}").read_text()) for name in ("max", "current"))
        statistics = dict(
            line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines()
        )
        found.append(most - used + int(statistics["inactive_file"]))
    return min(found, default=None)
