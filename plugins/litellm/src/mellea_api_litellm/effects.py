"""What LiteLLM was seen to do with an option on a route, read as rules.

`probe` says of each parameter where it goes: one place in the JSON, if every value that was tried
arrived there as it was; else, value by value, what was sent. A value that LiteLLM would drop or
change gets a rule that refuses it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from attrs import frozen

from mellea_api._contract.descriptor import Endpoint
from mellea_api._options.checks import THINKING_LEVELS
from mellea_api.plugin import OptionRule, effort, unsaid
from mellea_api_litellm.conversions import in_its_terms, levels_as
from mellea_api_litellm.probe import PROBED
from mellea_api_litellm.routes import Route

__all__ = ["Effects", "an"]

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

    def refused(self, name: str, reason: str) -> OptionRule:
        """Return the rule that an option is not supported."""
        return OptionRule(name=name, reason=reason, source=self.source)

    def rules(
        self,
        effect: Any,
        end: Endpoint,
        facts: Mapping[str, Any],
        *,
        key: str = "",
        probed: str = "",
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
        if name in _PENALTIES and not _means(name, place):
            why = f"LiteLLM would send it as {place}, which means something else"
            yield self.refused(name, why)
        elif isinstance(effect, str):
            yield OptionRule(**facts, **_placed(end, key or name, place))
        elif name in _TRANSLATED:
            yield from self._translated(effect, end, facts)
        else:
            yield from self._partly(effect, end, facts, key or name, probed or name)

    def _refused_for(self, name: str, value: Any, reason: str) -> OptionRule:
        return OptionRule(name=name, requires={name: (value,)}, reason=reason, source=self.source)

    def _translated(
        self, effect: Mapping[str, Any], end: Endpoint, facts: Mapping[str, Any]
    ) -> Iterator[OptionRule]:
        name = facts["name"]
        seen: list[Any] = []
        for value, sent in effect.items():
            why = ""
            if not sent or "!" in sent:
                why = f"LiteLLM drops {value} on {self.on}"
            elif sent in seen:
                why = f"LiteLLM would send {value} as something weaker"
            if why:
                yield self._refused_for(name, json.loads(value), why)
            seen.append(sent)
        terms = "LiteLLM says it in the provider's terms"
        yield OptionRule(**facts, convert=in_its_terms, reason=terms, **_placed(end, name, ""))

    def _partly(
        self,
        effect: Mapping[str, Any],
        end: Endpoint,
        facts: Mapping[str, Any],
        key: str,
        probed: str,
    ) -> Iterator[OptionRule]:
        """Yield rules for what is kept for some values, and changed or dropped for others."""
        name = facts["name"]
        typical = PROBED[probed][0]
        place = next(iter(effect[json.dumps(typical)]), "") or _first_place(effect)
        tried = {value: json.loads(value) for value in effect}
        kept = [tried[value] for value, sent in effect.items() if sent == {place: tried[value]}]
        lost = [tried[value] for value in effect if tried[value] not in kept]
        native = _placed(end, key, place)
        if typical not in kept:  # only some particular values are kept
            if kept:
                yield OptionRule(**facts, **native, requires={name: tuple(kept)})
            only = f"; only {', '.join(map(str, kept))} is sent" if kept else ""
            yield self.refused(name, f"LiteLLM drops it on {self.on}{only}")
            return
        numbers = all(isinstance(value, int | float) for value in (*kept, *lost))
        bounds: dict[str, Any] = {}
        above = [value for value in lost if numbers and value > max(kept)]
        for value in lost:
            sent = effect[json.dumps(value)]
            if value in above and len(above) > 1:
                bounds["maximum"] = max(kept)
            elif numbers and value < min(kept) and value < 0:
                bounds["minimum"] = min(kept)
            elif name == "max_tokens" and isinstance(sent.get(place), int):
                bounds["minimum"] = sent[place]  # LiteLLM raises what is less
            else:
                becomes = next(iter(sent.values()), None)
                why = (
                    f"LiteLLM drops {value!r} on {self.on}"
                    if becomes is None or "!" in sent
                    else f"LiteLLM would send {becomes!r} instead"
                )
                yield self._refused_for(name, value, why)
        yield OptionRule(**facts, **native, **bounds)

    def levels(self, effect: Mapping[str, Any], key: str) -> Iterator[OptionRule]:
        """Yield the rules for each level of `thinking`.

        Args:
            effect: What was seen of `reasoning_effort`.
            key: The place of `thinking` in what Mellea's backend is given.
        """
        levels = {level: effect.get(json.dumps(level), {}) for level in THINKING_LEVELS}
        # What other options have a rule for is not the level's to say.
        owned = {
            effect if isinstance(effect, str) else _first_place(effect)
            for name, effect in self.route.places.items()
            if name != "reasoning_effort"
        }
        for level, found in levels.items():
            facts: dict[str, Any] = {
                "name": "thinking",
                "requires": {"thinking": _given_as(level)},
                "source": self.source,
            }
            silent = not found and level == "none"
            if silent and any("thinking" in place for place in levels["high"]):
                yield OptionRule(
                    **facts,
                    chat=(key, "thinking"),
                    convert=unsaid,
                    reason="the model reasons only when asked to; nothing is sent",
                )
            elif why := self._why_no_level(level, found, levels["none"]):
                yield OptionRule(**facts, reason=why)
            else:
                sent = {where: to for where, to in found.items() if where not in owned}
                yield OptionRule(
                    **facts,
                    chat=(key, next(iter(sent), "")),
                    convert=levels_as({level: sent}) if sent else effort,
                )

    def _why_no_level(self, level: str, found: Mapping[str, Any], off: Mapping[str, Any]) -> str:
        if not found and level == "none":
            return "LiteLLM drops it here, so that the model would reason as it does by default"
        if not found or "!" in found:
            return f"LiteLLM drops the level {level!r} on {self.on}"
        if level != "none" and found == off:
            return f"LiteLLM would switch reasoning off for the level {level!r}"
        return ""


def _first_place(effect: Mapping[str, Any]) -> str:
    return next((place for sent in effect.values() for place in sent if place != "!"), "")


def _placed(end: Endpoint, key: str, wire: str) -> dict[str, Any]:
    return {end: (key, wire)}


def an(what: str) -> str:
    """Return a noun with its article."""
    return f"{'an' if what[0] in 'aeiou' else 'a'} {what}"


def _means(name: str, place: str) -> bool:
    """Return whether a place is called as the option is, in whatever way its words are joined."""
    plain = place.rpartition(".")[2].replace("_", "").lower()
    return plain == name.replace("_", "")


def _given_as(level: str) -> tuple[bool | str, ...]:
    if level == "medium":
        return (level, True)
    return (level, False) if level == "none" else (level,)
