"""Dotted places in nested dicts: `extra_body.top_k`."""

from __future__ import annotations

from typing import Any, Final


class PathTakenError(ValueError):
    """Another value is at that place already; the text is the place."""


def split(dotted: str | tuple[str, ...]) -> tuple[str, ...]:
    """Return the steps of a dotted path; a tuple of steps stays as it is.

    >>> split("extra_body.top_k")
    ('extra_body', 'top_k')
    >>> split("")
    ()
    >>> split(("a name.with a dot",))
    ('a name.with a dot',)
    """
    if isinstance(dotted, tuple):
        return dotted
    return tuple(step for step in dotted.split(".") if step)


_HOLDERS: Final = frozenset({dict, list})


def own(value: Any) -> Any:
    """Copy lists and dicts, at every depth, but not what they hold.

    The caller may change them as soon as the call returns.

    >>> given = {"stop": ["a"]}
    >>> kept = own(given)
    >>> given["stop"].append("b")
    >>> kept
    {'stop': ['a']}
    """
    kind = type(value)
    try:
        if kind is dict:
            return {
                name: own(item) if type(item) in _HOLDERS else item for name, item in value.items()
            }
        if kind is list:
            kept = value.copy()
            for position, item in enumerate(kept):
                if type(item) in _HOLDERS:
                    kept[position] = own(item)
            return kept
    except RecursionError:
        pass  # too deep, or within itself: the checks refuse it
    return value


def place(into: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    """Put a value at a place, and make the dicts on the way; two dicts at one place are merged.

    Args:
        into: The outermost dict.
        path: The steps, at least one.
        value: What to put there.

    Raises:
        PathTakenError: If another value is there, or on the way.

    >>> body = {"extra_body": {"min_p": 0.1}}
    >>> place(body, ("extra_body", "top_k"), 5)
    >>> body
    {'extra_body': {'min_p': 0.1, 'top_k': 5}}
    """
    here = into
    for step in path[:-1]:
        here = here.setdefault(step, {})
        if not isinstance(here, dict):
            raise PathTakenError(".".join(path))
    last = path[-1]
    if last not in here:
        here[last] = dict(value) if isinstance(value, dict) else value
    elif isinstance(here[last], dict) and isinstance(value, dict):
        for name, item in value.items():
            place(here[last], (name,), item)
    elif isinstance(here[last], list) and isinstance(value, list) and path == ("messages",):
        here[last] = [*here[last], *value]
    elif here[last] != value:
        raise PathTakenError(".".join(path))
