"""An extension that numbers what is normalized: a request on the wire then shows how often it was.

Each time options go through the pipeline, the seed becomes the next number. Options that went
around it have no such seed; options that went through it twice leave a gap.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

from mellea_api import Registry
from mellea_api._registry.discovery import EXTENSIONS, EntryPoint, installed_entry_points
from mellea_api.plugin import OptionPatch, OptionsRequest, hookimpl

_numbers = [count(1)]


@hookimpl
def review_options(request: OptionsRequest) -> Sequence[OptionPatch]:
    """Number these options."""
    return [
        OptionPatch(action="set", name="seed", reason="a number for each", value=next(_numbers[0]))
    ]


def restart() -> None:
    """Begin at 1 again."""
    _numbers[0] = count(1)


def stamping_registry() -> Registry:
    """The installed backends, and this extension."""
    extension = EntryPoint(EXTENSIONS, "stamp", __name__, "test-stamp")
    return Registry.discover(entry_points=[*installed_entry_points(), extension])
