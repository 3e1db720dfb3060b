"""The options of a running session, to be read and written like the plain dict that Mellea has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self


class OptionsView(dict[str, Any]):
    """A session's options as the user spelt them; what is written here is checked, and applies.

    Args:
        options: The options.
        apply: Makes changed options the session's; raises `OptionError` if they cannot be used,
            and nothing is changed then.
    """

    def __init__(
        self, options: Mapping[str, Any], apply: Callable[[Mapping[str, Any]], None]
    ) -> None:
        super().__init__(options)
        self._apply = apply

    def _write(self, options: dict[str, Any]) -> None:
        self._apply(options)
        super().clear()
        super().update(options)

    def __setitem__(self, name: str, value: Any) -> None:
        self._write({**self, name: value})

    def __delitem__(self, name: str) -> None:
        if name not in self:
            raise KeyError(name)
        self._write({key: value for key, value in self.items() if key != name})

    def __ior__(self, other: Any) -> Self:  # type: ignore[misc, override, unused-ignore]
        self.update(other)
        return self

    def update(self, *others: Any, **more: Any) -> None:
        """Write several options at once."""
        changed = dict(self)
        changed.update(*others, **more)
        self._write(changed)

    def setdefault(self, name: str, default: Any = None) -> Any:
        """Write an option unless there is one, and return it."""
        if name not in self:
            self[name] = default
        return self[name]

    def pop(self, name: str, *default: Any) -> Any:
        """Take an option out, and return it."""
        if name not in self and default:
            return default[0]
        value = self[name]
        del self[name]
        return value

    def popitem(self) -> tuple[str, Any]:
        """Take the option out that was written last."""
        name = next(reversed(self))
        return name, self.pop(name)

    def clear(self) -> None:
        """Take all options out."""
        self._write({})

    def __reduce__(self) -> tuple[Any, ...]:
        return (dict, (dict(self),))
