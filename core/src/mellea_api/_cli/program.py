"""A program, run as Python itself runs it: its `__main__`, its arguments, its end."""

from __future__ import annotations

import builtins
import io
import os
import sys
import types
from collections.abc import Iterable
from importlib.machinery import SourceFileLoader
from typing import Any, Final

from attrs import field, frozen

_replaced: Final[list[types.ModuleType]] = []
"""The command's own `__main__`, kept alive: its functions are still running."""


def _tuple(value: Iterable[str]) -> tuple[str, ...]:
    return tuple(value)


@frozen(kw_only=True)
class Program:
    """A program to be run in this process, in place of the command that started it.

    Args:
        path: Its file; or
        module: its name, as for `python -m`.
        arguments: Its arguments.
    """

    path: str | None = None
    module: str | None = None
    arguments: tuple[str, ...] = field(default=(), converter=_tuple)

    def run(self) -> None:
        """Run it, with the registry behind Mellea's functions.

        Raises:
            SystemExit: With the program's exit code, unless that is 0.
        """
        from mellea_api._cli import takeover

        takeover.install()
        try:
            if self.module is not None:
                self._run_module(self.module)
            else:
                self._run_file(self.path or "")
        except SystemExit:
            raise
        except BaseException as error:
            _report(error)

    def _run_file(self, path: str) -> None:
        full = os.path.join(os.getcwd(), path)
        main = _new_main()
        main.__dict__["__file__"] = full
        main.__dict__["__cached__"] = None
        main.__dict__["__loader__"] = SourceFileLoader("__main__", full)
        sys.argv = [path, *self.arguments]
        _set_first_path(os.path.dirname(os.path.realpath(full)))
        with io.open_code(full) as file:
            source = file.read()
        exec(compile(source, full, "exec", dont_inherit=True), main.__dict__)

    def _run_module(self, module: str) -> None:
        import runpy

        _new_main()
        sys.argv = ["-m", *self.arguments]
        _set_first_path(os.getcwd())
        # What `python -m` itself calls; the public run_module restores __main__ at its end,
        # and threads and exit handlers of the program would find it gone.
        runpy._run_module_as_main(module)  # type: ignore[attr-defined]


def _new_main() -> types.ModuleType:
    """Put a fresh `__main__` where the command's own was, as Python makes one."""
    main = types.ModuleType("__main__")
    main.__dict__["__builtins__"] = builtins
    if sys.version_info < (3, 14):
        main.__annotations__ = {}
    _replaced.append(sys.modules["__main__"])
    sys.modules["__main__"] = main
    return main


def _set_first_path(folder: str) -> None:
    """Put the program's folder where that of the command was."""
    if not sys.flags.safe_path:  # -P and PYTHONSAFEPATH: there is no such entry
        sys.path[0] = folder


def _report(error: BaseException) -> None:
    """End as Python does after an exception that nobody caught.

    Raises:
        SystemExit: With code 1.
        KeyboardInterrupt: If that it was: Python then ends by the signal.
    """
    error.__traceback__ = _of_the_program(error.__traceback__)
    sys.last_type, sys.last_value, sys.last_traceback = (
        type(error),
        error,
        error.__traceback__,
    )
    sys.excepthook(type(error), error, error.__traceback__)
    if isinstance(error, KeyboardInterrupt):
        sys.excepthook = _say_nothing
        raise KeyboardInterrupt
    raise SystemExit(1)


def _of_the_program(trace: types.TracebackType | None) -> types.TracebackType | None:
    """Leave out the frames of this module, with which every traceback begins."""
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    return trace


def _say_nothing(*_: Any) -> None:
    """Take the place of the hook that has had its say."""
