"""Every public call and every command, driven with a secret planted, and all searched for it that they wrote.

A backend's test opens a stage (a loopback provider that is well, or fails in one way), and says on a `Planted` what a
user would say to get there. `leaks_of_call` and `leaks_of_command` return where the secret was seen.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import runpy
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from opentelemetry import trace
from support.canary import CANARY, Watch, drawn, shown

Given = Literal["argument", "environment"]
TIMEOUT = 2.0

PROGRAM = """
import mellea
with mellea.start_session({backend!r}, {model!r}) as session:
    print(session.chat("Hello!"))
"""


@dataclass
class Planted:
    """A backend, and how a user reaches it.

    Attributes:
        backend: Its name.
        model: The model's id.
        arguments: What is given by name: the secret, and the address.
        environment: The same by the environment.
        session_arguments: What only sessions take.
        canaries: Returns what must not be seen: the secret, and what it was exchanged for.
    """

    backend: str
    model: str
    arguments: Mapping[str, Any]
    environment: Mapping[str, str]
    session_arguments: Mapping[str, Any] = field(default_factory=dict)
    canaries: Callable[[], Iterable[str]] = lambda: (CANARY,)


@dataclass
class _Calls:
    """What can be called, each as a method of this name."""

    planted: Planted
    given: Given

    @property
    def arguments(self) -> dict[str, Any]:
        return dict(self.planted.arguments) if self.given == "argument" else {}

    def session(self, **more: Any) -> Any:
        import mellea_api

        arguments = {"timeout": TIMEOUT, **self.planted.session_arguments, **self.arguments, **more}
        return mellea_api.start_session(self.planted.backend, self.planted.model, **arguments)

    def runtime(self) -> Any:
        from mellea_api.runtime import MelleaRuntime

        arguments = {**self.planted.session_arguments, **self.arguments}
        return MelleaRuntime(
            self.planted.backend, self.planted.model, timeout=TIMEOUT, run_id="r1", **arguments
        )

    def start_session(self) -> Any:
        session = self.session()
        return [session, session.backend, vars(session.backend).get("_mellea_api")]

    def chat(self) -> Any:
        return self.session().chat("Hello!")

    def achat(self) -> Any:
        return asyncio.run(self.session().achat("Hello!"))

    def instruct(self) -> Any:
        return self.session().instruct("Say hello.", requirements=["It is short."])

    def raw(self) -> Any:
        from mellea.core import CBlock

        session = self.session()
        return asyncio.run(session.backend.generate_from_raw([CBlock("x")], ctx=session.ctx))

    def stream_chat(self) -> Any:
        from mellea_api import stream_chat

        return list(stream_chat(self.session(), "Hello!"))

    def a_bad_option(self) -> Any:
        return self.session(model_options={"temperature": 77, "temprature": 1})

    def a_bad_argument(self) -> Any:
        return self.session(frobnicate=1)

    def a_bad_backend(self) -> Any:
        import mellea_api

        return mellea_api.start_session(f"{self.planted.backend}x", **self.arguments)

    def a_runtime(self) -> Any:
        with self.runtime() as runtime:
            try:
                return [runtime.chat("Hello!"), *runtime.stream("Hello!"), vars(runtime), runtime]
            finally:
                runtime.switch_model("another-model", **self.arguments)

    def list_models(self) -> Any:
        import mellea_api

        return mellea_api.list_models(self.planted.backend, timeout=TIMEOUT, **self.arguments)

    def list_all_models(self) -> Any:
        import mellea_api

        return mellea_api.list_all_models(
            [self.planted.backend],
            freshness="live",
            timeout=TIMEOUT,
            arguments={self.planted.backend: self.arguments},
        )

    def a_bad_list(self) -> Any:
        import mellea_api

        return mellea_api.list_all_models(
            freshness="stale",  # type: ignore[arg-type]
            arguments={self.planted.backend: self.arguments},
        )

    def validate_credentials(self) -> Any:
        import mellea_api

        return mellea_api.validate_credentials(
            self.planted.backend, self.planted.model, **self.arguments
        )

    def probe(self) -> Any:
        import mellea_api

        return mellea_api.validate_credentials(
            self.planted.backend,
            self.planted.model,
            probe=True,
            timeout=TIMEOUT,
            **self.arguments,
        )

    def check_readiness(self) -> Any:
        import mellea_api

        return mellea_api.check_readiness(
            self.planted.backend,
            self.planted.model,
            probe=True,
            timeout=TIMEOUT,
            **self.arguments,
        )

    def explain_options(self) -> Any:
        import mellea_api

        address = self.arguments.get("base_url")
        return mellea_api.explain_options(
            self.planted.backend, {"temperature": 0.5}, self.planted.model, address
        )

    def a_request(self) -> Any:
        import mellea_api

        request = mellea_api.session_request(
            self.planted.backend, self.planted.model, timeout=TIMEOUT, **self.arguments
        )
        with contextlib.suppress(TypeError):  # what holds a secret that was given does not pickle
            return [request, pickle.dumps(request), mellea_api.build_session(request)]
        return request

    def refresh(self) -> Any:
        import mellea_api

        return [mellea_api.refresh(), vars(mellea_api.shared_registry())]


CALLS = [name for name in vars(_Calls) if name not in ("arguments", "runtime", "session")]
CALLS = [name for name in CALLS if not name.startswith("_") and callable(vars(_Calls)[name])]

COMMANDS: dict[str, tuple[str, ...]] = {
    "backends": ("backends",),
    "models": ("models", "{backend}", "--timeout", "2"),
    "models, all": ("models", "--timeout", "2"),
    "options": ("options", "{backend}", "temperature=0.5", "--model", "{model}"),
    "options, bad": ("options", "{backend}", "temperature=77"),
    "check": ("check", "{backend}", "--model", "{model}", "--timeout", "2"),
    "check --probe": ("check", "{backend}", "--probe", "--model", "{model}", "--timeout", "2"),
    "doctor": ("doctor",),
    "keys list": ("keys", "list"),
    "chat": ("chat", "Hello!", "--backend", "{backend}", "--model", "{model}"),
    "run": ("run", "{program}"),
}


def leaks_of_call(
    planted: Planted, call: str, given: Given = "argument", *, tools: bool = False
) -> list[str]:
    """Where the secret was seen when one public function was called.

    Args:
        planted: See the class.
        call: One of `CALLS`.
        given: How the secret is given.
        tools: Whether the tools that draw tracebacks are asked too, which takes seconds.
    """
    variables = planted.environment if given == "environment" else {}
    calls = _Calls(planted, given)
    found: list[tuple[str, str]] = []
    with _environment(variables), Watch() as watch:
        try:
            with trace.get_tracer("program").start_as_current_span(call):
                result = getattr(calls, call)()
        except Exception as error:
            found = [*shown(error), *(drawn(error) if tools else ())]
        else:
            found = [*_texts(result)]
    return watch.leaks(*found, canaries=planted.canaries())


def leaks_of_command(planted: Planted, command: str, folder: Path, *more: str) -> list[str]:
    """Where the secret was seen when one command ran, and what it wrote into a folder."""
    from mellea_api._cli import main, takeover

    program = folder / "program.py"
    program.write_text(PROGRAM.format(backend=planted.backend, model=planted.model))
    names = {"backend": planted.backend, "model": planted.model, "program": str(program)}
    words = [word.format(**names) for word in COMMANDS[command]]
    imported = set(_having_ours())
    with _environment(planted.environment), Watch() as watch, contextlib.suppress(SystemExit):
        try:
            if words[0] == "run":  # which replaces the process; what the program does is watched
                takeover.install()
                runpy.run_path(str(program), run_name="__main__")
            else:
                main([*words, *more])
        except Exception as error:  # a program's own error leaves `run` as it is
            watch.written["raised"] = "".join(text for _, text in shown(error))
        finally:
            _give_back(imported)
    return watch.leaks(canaries=planted.canaries())


def _having_ours() -> Iterator[tuple[str, str]]:
    """Where a module has one of our functions that `run` puts in place of Mellea's."""
    from mellea_api._cli import takeover

    for name, module in list(sys.modules.items()):
        for key, value in list(getattr(module, "__dict__", {}).items()):
            if value is takeover.start_session or value is takeover.start_backend:
                yield name, key


def _give_back(imported: Collection[tuple[str, str]]) -> None:
    """Undo what a program of `run` has done to Mellea: this process has more to do.

    What was `imported` from us before, as tests do, stays.
    """
    from mellea_api._cli import takeover

    if not any(isinstance(finder, takeover._Finder) for finder in sys.meta_path):
        return
    sys.meta_path[:] = [one for one in sys.meta_path if not isinstance(one, takeover._Finder)]
    for name, module in list(sys.modules.items()):
        if name.startswith("mellea.backends."):
            for cls in [found for found in vars(module).values() if isinstance(found, type)]:
                made = vars(cls).get("__init__")
                if (
                    getattr(made, "__code__", None)
                    and made.__code__.co_filename == takeover.__file__
                ):
                    cls.__init__ = made.__wrapped__  # type: ignore[misc]
    for name, key in set(_having_ours()) - set(imported):
        ours = getattr(sys.modules[name], key)
        setattr(sys.modules[name], key, ours.__wrapped__)


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _texts(result: Any) -> Iterator[tuple[str, str]]:
    """What there is to show of a result."""
    from mellea_api._contract.as_json import to_json

    for value in result if isinstance(result, list) else [result]:
        kind = type(value).__name__
        yield f"repr of {kind}", repr(value)
        yield f"str of {kind}", str(value)
        # Mellea's own objects hold the key that they call with, also where we subclass them.
        packages = [cls.__module__.partition(".")[0] for cls in type(value).__mro__]
        ours = packages[0] == "mellea_api" and "mellea" not in packages
        for name, part in vars(value).items() if ours and hasattr(value, "__dict__") else ():
            yield f"{kind}.{name}", repr(part)
        ways: dict[str, Callable[[Any], Any]] = {
            "json": to_json,
            "pickle": pickle.dumps,
        }
        for name, way in ways.items():
            with contextlib.suppress(Exception):  # live objects of Mellea have neither
                yield f"{name} of {kind}", repr(way(value))
