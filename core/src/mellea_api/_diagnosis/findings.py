"""What `diagnose` returns: plain frozen values, without a secret in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal

from attrs import field, frozen

State = Literal["ok", "off", "warning", "error"]
"""`off`: switched off by the environment. `warning`: it works, and somebody should look."""


@frozen(kw_only=True)
class SoftwareFinding:
    """What was found of Python, of this library, or of a distribution that it needs.

    Args:
        name: The distribution's name.
        version: Its version; empty if it is not installed.
        state: How it is.
        message: What was found; empty where there is nothing to say.
        next_step: What to do about it; empty where nothing is.
    """

    name: str
    version: str
    state: State = "ok"
    message: str = ""
    next_step: str = ""


@frozen(kw_only=True)
class PluginFinding:
    """What was found of one plugin.

    Args:
        name: The name that it is asked for by.
        aliases: Its further names.
        distribution: Where it comes from; several with "and" between them.
        version: That distribution's version; empty for several.
        contract_version: The contract that it says it was written for; None if it says none, as
            an extension.
        load_ms: Milliseconds that importing and describing it took, in a process of its own
            that had the core imported; None if it was not loaded.
        state: How it is.
        message: What was found; empty where there is nothing to say.
        next_step: What to do about it; empty where nothing is.
    """

    name: str
    aliases: tuple[str, ...] = ()
    distribution: str
    version: str
    contract_version: int | None = None
    load_ms: float | None = None
    state: State = "ok"
    message: str = ""
    next_step: str = ""


@frozen(kw_only=True)
class VariableFinding:
    """What was found of one environment variable. Its value is not in it.

    Args:
        name: The variable's name.
        state: How it is; `warning` for one that nobody reads.
        message: Who reads it, or why nobody does, or what is wrong with its value.
        next_step: What to do about it; empty where nothing is.
    """

    name: str
    state: State = "ok"
    message: str
    next_step: str = ""


def _tuple(value: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(value)


@frozen(kw_only=True)
class Diagnosis:
    """What is installed and set, and what is wrong with it.

    Args:
        software: Python, this library, Mellea, the SDKs, and whatever else a distribution asks
            for and does not get.
        backends: Each backend's plugin.
        extensions: Each extension.
        variables: The environment variables that are set and concern this library or a backend,
            or look as if they were meant to.
    """

    software: tuple[SoftwareFinding, ...] = field(converter=_tuple)
    backends: tuple[PluginFinding, ...] = field(converter=_tuple)
    extensions: tuple[PluginFinding, ...] = field(converter=_tuple)
    variables: tuple[VariableFinding, ...] = field(converter=_tuple)

    @property
    def healthy(self) -> bool:
        """Whether nothing is wrong; warnings do not count."""
        return not any(found.state == "error" for found in self)

    def __iter__(self) -> Iterator[SoftwareFinding | PluginFinding | VariableFinding]:
        yield from self.software
        yield from self.backends
        yield from self.extensions
        yield from self.variables
