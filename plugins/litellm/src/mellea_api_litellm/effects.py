"""What LiteLLM was seen to do with an option on a route, read as rules.

`probe` says of each parameter where it goes: one place in the JSON, if every value that was tried
arrived there as it was; else, value by value, what was sent. A value that LiteLLM would drop or
change gets a rule that refuses it.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from attrs import frozen

from mellea_api.plugin import Converted, OptionRule
from mellea_api_litellm.probe import LEVELS, PROBED
from mellea_api_litellm.routes import Route

TERMS: Final = "LiteLLM says it in the provider's terms"
# A factor under which 1 is neutral is no penalty under which 0 is.
_PENALTIES: Final = ("presence_penalty", "frequency_penalty")
# What LiteLLM may say in other terms: the meaning is the same.
_TRANSLATED: Final = frozenset({"tools", "tool_choice", "parallel_tool_calls", "logit_bias"})


@frozen
class Effects:
    """Reads effects on one route.

    Args:
        route: The route.
        on: What it is called in reasons, with its article.
        source: Where its effects were seen.
    """

    route: Route
    on: str
    source: str

    def rules(
        self, effect: Any, end: str, facts: Mapping[str, Any], *, key: str = "", probed: str = ""
    ) -> Iterator[OptionRule]:
        """Yield the rules for one option at one endpoint; none if it does not arrive there.

        Args:
            effect: What was seen.
            end: The endpoint.
            facts: What else the rules say; its `name` is the option's.
            key: Its place in what Mellea's backend is given, if that is not its name.
            probed: LiteLLM's name of it, if that is not its name.
        """
        name = facts["name"]
        if not effect:
            return
        place = effect if isinstance(effect, str) else _first_place(effect)
        meant = place.rpartition(".")[2].replace("_", "").lower()
        if name in _PENALTIES and meant != name.replace("_", ""):
            why = f"LiteLLM would send it as {place}, which means something else"
            yield from self.refused(name, why)
        elif isinstance(effect, str):
            yield _rule(facts, end, (key or name, place))
        elif name in _TRANSLATED:
            yield from self._translated(name, effect)
            yield _rule(facts, end, (name, ""), convert=Converted, reason=TERMS)
        else:
            yield from self._partly(effect, end, facts, key or name, probed or name)

    def refused(self, names: str, reason: str, **facts: Any) -> tuple[OptionRule, ...]:
        """Return the rules of options that are not supported."""
        return OptionRule.refused(names, reason, source=self.source, **facts)

    def _refused_for(self, name: str, value: Any, reason: str) -> Iterator[OptionRule]:
        yield from self.refused(name, reason, requires={name: (value,)})

    def _translated(self, name: str, effect: Mapping[str, Any]) -> Iterator[OptionRule]:
        seen: list[Any] = []
        for value, sent in effect.items():
            if not sent or "!" in sent:
                why = f"LiteLLM drops {value} on {self.on}"
                yield from self._refused_for(name, json.loads(value), why)
            elif sent in seen:
                why = f"LiteLLM would send {value} as something weaker"
                yield from self._refused_for(name, json.loads(value), why)
            seen.append(sent)

    def _partly(
        self, effect: Mapping[str, Any], end: str, facts: Mapping[str, Any], key: str, probed: str
    ) -> Iterator[OptionRule]:
        """Yield rules for what is kept for some values, and changed or dropped for others."""
        name = facts["name"]
        typical = PROBED[probed][0]
        place = next(iter(effect[json.dumps(typical)]), "") or _first_place(effect)
        sent = [(json.loads(value), found.get(place)) for value, found in effect.items()]
        kept = [value for value, found in sent if found is not None and found == value]
        if typical not in kept:  # only some particular values are kept
            if kept:
                yield _rule(facts, end, (key, place), requires={name: tuple(kept)})
            only = f"; only {', '.join(map(str, kept))} is sent" if kept else ""
            yield from self.refused(name, f"LiteLLM drops it on {self.on}{only}")
            return
        limits = {}
        for value, found in sent:
            if value not in kept and isinstance(found, int | float):  # a limit that LiteLLM keeps
                limits["minimum" if found > value else "maximum"] = found
            elif value not in kept:
                yield from self._refused_for(name, value, f"LiteLLM drops {value!r} on {self.on}")
        yield _rule(facts, end, (key, place), **limits)

    def levels(self, effect: Mapping[str, Any], key: str) -> Iterator[OptionRule]:
        """Yield the rules for each level of `thinking`.

        Args:
            effect: What was seen of `reasoning_effort`.
            key: The place of `thinking` in what Mellea's backend is given.
        """
        levels: dict[str, Any] = {level: effect.get(json.dumps(level), {}) for level in LEVELS}
        # What other options have a rule for is not the level's to say.
        owned = {
            effect if isinstance(effect, str) else _first_place(effect)
            for name, effect in self.route.places.items()
            if name != "reasoning_effort"
        }
        for level, found in levels.items():
            given = {"thinking": (level, *(value for value, meant in _WORDS if meant == level))}
            facts: dict[str, Any] = {"name": "thinking", "requires": given, "source": self.source}
            if level == "none" and not found and any("thinking" in name for name in levels["high"]):
                why = "the model reasons only when asked to; nothing is sent"
                yield OptionRule(
                    **facts, chat=(key, "thinking"), convert=Converted.unsaid, reason=why
                )
            elif why := self._why_no_level(level, found, levels["none"]):
                yield OptionRule(**facts, reason=why)
            else:
                sent = {place: found[place] for place in sorted(found) if place not in owned}
                convert = functools.partial(_sends, sent) if sent else Converted.effort
                yield OptionRule(**facts, chat=(key, next(iter(sent), "")), convert=convert)

    def _why_no_level(self, level: str, found: Mapping[str, Any], off: Mapping[str, Any]) -> str:
        if not found and level == "none":
            return "LiteLLM drops it here, so that the model would reason as it does by default"
        if not found or "!" in found:
            return f"LiteLLM drops the level {level!r} on {self.on}"
        if level != "none" and found == off:
            return f"LiteLLM would switch reasoning off for the level {level!r}"
        return ""


def _rule(facts: Mapping[str, Any], end: str, place: tuple[str, str], **more: Any) -> OptionRule:
    return OptionRule(**{**facts, end: place, **more})


_WORDS: Final = ((True, "medium"), (False, "none"))


def _sends(places: Mapping[str, Any], value: bool | str) -> Converted:
    said = Converted.effort(value)
    (_, first), *others = places.items()
    reason = "; ".join(filter(None, (said.reason, TERMS)))
    return Converted(said.value, first, wires=dict(others), reason=reason)


def _first_place(effect: Mapping[str, Any]) -> str:
    return next((place for sent in effect.values() for place in sent if place != "!"), "")
