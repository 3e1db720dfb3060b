"""What becomes of each option on a route: rules, made of what LiteLLM was seen to do there.

Mellea's backend always calls LiteLLM with `drop_params=True`, under which LiteLLM leaves out
whatever it takes to be unsupported, and changes some values, without a word. So nothing that
would be lost or changed is handed on: the rules refuse it first, and the report says so.

`probe` says of each parameter where it goes: one place in the JSON, if every value that was tried
arrived there as it was; else, value by value, what was sent.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from mellea_api import NormalizedOptions, OptionError, OptionProblem
from mellea_api.plugin import (
    MELLEA_RULES,
    Converted,
    OptionRule,
    OptionsRequest,
    hookimpl,
)
from mellea_api_litellm.probe import LEVELS
from mellea_api_litellm.routes import Route, find, litellm_version

_MELLEA: Final = "mellea 0.3.0 to 0.8.0, backends/litellm.py"
_LIMIT: Final = "@@@max_new_tokens@@@"
_TERMS: Final = "LiteLLM says it in the provider's terms"

_RESERVED: Final = {
    "model": "the session's model_id= says it",
    "messages": "Mellea makes them of the context",
    "prompt": "Mellea makes it of the action",
    "response_format": "give a pydantic model as format= of the call",
    "stream_options": "Mellea asks for the usage itself when it streams",
    "timeout": "give timeout= of start_session: a deadline for the whole call",
    "drop_params": "nothing is handed to LiteLLM that it would drop; unsupported= says what "
    "happens to such options",
    "additional_drop_params": "leave out what is not to be sent",
    "api_key": "give api_key= of start_session: options are shown in reports",
    "api_base base_url": "give base_url= of start_session",
    "api_version": "give api_version= of start_session",
    "function_call": "OpenAI replaced it: Mellea sends tools, so give tool_choice",
    "extra_headers": "they may hold credentials, and options are shown in reports",
    "extra_body": "give `extra={...}`: it goes there where the route has such a thing",
}

# Arguments of LiteLLM that somebody may want to give as options.
OWN: Final = (
    "custom_llm_provider mock_response num_retries max_retries metadata fallbacks model_list "
    "deployment_id caching allowed_openai_params"
)

# Its types, where it is not a common option.
_TYPES: Final = {
    **dict.fromkeys(("parallel_tool_calls", "store"), "boolean"),
    **dict.fromkeys(("user", "service_tier", "prompt_cache_key"), "text"),
    **dict.fromkeys(("safety_identifier", "verbosity"), "text"),
    "logit_bias": "object",
}
_PLAIN: Final = (
    *("temperature", "top_p", "stop", "seed", "presence_penalty", "frequency_penalty"),
    *("logprobs", "top_logprobs", "tool_choice", *_TYPES),
)
_CHAT_ONLY: Final = frozenset(
    {"logprobs", "top_logprobs", "tool_choice", "parallel_tool_calls", "store", "verbosity"}
)
# A factor under which 1 is neutral is no penalty under which 0 is.
_PENALTIES: Final = ("presence_penalty", "frequency_penalty")
# What LiteLLM may say in other terms: the meaning is the same.
_TRANSLATED: Final = frozenset({"tools", "tool_choice", "parallel_tool_calls", "logit_bias"})
_OLLAMAS: Final = ("ollama", "ollama_chat")
# Ollama's own options, which LiteLLM passes on without knowing them.
_OLLAMA: Final = {
    "number": "typical_p",
    "integer": "repeat_last_n num_keep num_batch num_gpu main_gpu num_thread",
    "boolean": "use_mmap",
}
# Who has further common options by their documentation; LiteLLM does not know the names.
_SERVERS: Final = ("hosted_vllm", "llamafile", "lm_studio", "docker_model_runner", "lemonade")
_HOSTS: Final = ("deepinfra", "fireworks_ai", "openrouter", "together_ai")
_FURTHER: Final = "top_k min_p repetition_penalty"
_NATIVE: Final = {
    **dict.fromkeys(("anthropic", "gemini", "vertex_ai"), "top_k"),
    "watsonx_text": "top_k repetition_penalty",
}


@hookimpl
def normalize_options(request: OptionsRequest) -> NormalizedOptions | None:
    """Refuse names passed on unchecked that LiteLLM would not pass on."""
    route = find(request.target.model_id)
    if route is None or route.merges:
        return request.rendered
    why = "cannot be passed on unchecked: LiteLLM would use, translate or drop it"
    problems = [
        OptionProblem(decision.spelling, why)
        for decision in (request.rendered.decisions if request.rendered else ())
        if decision.name.startswith("extra.")
        and decision.name.removeprefix("extra.") in route.taken
    ]
    if problems:
        raise OptionError(problems=problems)
    return request.rendered


@functools.lru_cache(maxsize=256)
def rules_for(route: Route, *, compatible: bool = False) -> tuple[OptionRule, ...]:
    """Return the rules of a route.

    Args:
        route: The route.
        compatible: Whether the session has another address than OpenAI's own.
    """
    return tuple(_Rules(route, compatible).all())


class _Rules:
    def __init__(self, route: Route, compatible: bool) -> None:
        self.route = route
        self.places = route.places
        openai = route.provider in ("openai", "text-completion-openai")
        self.compatible = (openai and compatible) or route.provider in (*_SERVERS, *_HOSTS)
        self.source = f"litellm {litellm_version()}"
        name = f"{route.provider or 'unknown'} route"
        self.on = f"{'an' if name[0] in 'aeiou' else 'a'} {name}"

    def all(self) -> Iterator[OptionRule]:
        """Yield all rules, the particular before the general."""
        for names, reason in _RESERVED.items():
            yield from OptionRule.refused(names, reason, reserved=True, source=_MELLEA)
        why = "an argument of LiteLLM's own, which is no option of a model"
        yield from self._refused(OWN, why, reserved=True)
        yield from self._max_tokens()
        for name in _PLAIN:
            yield from self._plain(name)
        yield from self._thinking()
        yield from self._mellea()
        yield from self._native()
        yield from self._rest()

    def _refused(self, names: str, reason: str, **facts: Any) -> tuple[OptionRule, ...]:
        return OptionRule.refused(names, reason, source=self.source, **facts)

    # ------------------------------------------------------------------------ what LiteLLM knows

    def _max_tokens(self) -> Iterator[OptionRule]:
        effect = self.places.get(str(self.places.get("limit")))
        raw = self.route.raw_places is not None
        facts: dict[str, Any] = {"name": "max_tokens", "source": self.source}
        if self._has_two_apis():
            facts["minimum"] = 16
        for end in ("chat",) if raw else ("chat", "completion"):
            yield from self._seen(effect, end, facts, key=_LIMIT)
        if raw:
            # Mellea calls it max_completion_tokens, which LiteLLM refuses at this endpoint.
            yield OptionRule(**facts, completion=("extra_body.max_tokens", "max_tokens"))
        yield from self._refused("max_tokens", f"LiteLLM drops it on {self.on}")

    def _plain(self, name: str) -> Iterator[OptionRule]:
        if name == "stop" and (why := self._why_no_stop()):
            yield from self._refused(name, why)
            return
        if name in ("tool_choice", "parallel_tool_calls"):
            why = "it is sent along with tools alone: give tools too"
            yield from self._refused(name, why, requires={"tools": (None,)})
        facts: dict[str, Any] = {"name": name, "type": _TYPES.get(name), "source": self.source}
        if name == "top_logprobs":
            facts["requires"] = {"logprobs": (True,)}
        yield from self._seen(self.places.get(name), "chat", facts)
        if name not in _CHAT_ONLY:
            raw = self.places if self.route.raw_places is None else self.route.raw_places
            yield from self._seen(raw.get(name), "completion", facts)
        yield from self._refused(name, self._why_not(name))

    def _why_no_stop(self) -> str:
        named = self.route.model.startswith(("o3", "o4-mini"))
        here = self.route.provider in ("openai", "azure") and not self.compatible
        if here and named and not self.route.model.startswith("o3-mini"):
            return "OpenAI refuses it for this model, whatever LiteLLM says"
        if self._has_two_apis():
            return "with it LiteLLM asks another API of Bedrock's, which refuses it for this model"
        return ""

    def _has_two_apis(self) -> bool:
        """Return whether LiteLLM chooses between Bedrock's Chat Completions and its Converse.

        So for newer GPTs (`bedrock_request_needs_converse`), by what a request holds; Converse has
        the other options elsewhere, and there LiteLLM raises `max_tokens` below 16.
        """
        chat = self.places.get("max_completion_tokens") == "max_completion_tokens"
        elsewhere = self.places.get("stop") == "stopSequences"
        return self.route.provider == "bedrock" and chat and elsewhere

    def _why_not(self, name: str) -> str:
        if not self.route.provider:
            return "LiteLLM does not know this route"
        if name == "top_logprobs" and self.places.get(name):
            return "a chat with logprobs=True has it"
        if self.places.get(name):
            return "Mellea's raw endpoint is not given it"
        return f"LiteLLM drops it on {self.on}"

    def _seen(
        self, effect: Any, end: str, facts: Mapping[str, Any], key: str = ""
    ) -> Iterator[OptionRule]:
        """Yield the rules for one option at one endpoint; none if it does not arrive there.

        Args:
            effect: What was seen.
            end: The endpoint.
            facts: What else the rules say; its `name` is the option's.
            key: Its place in what Mellea's backend is given, if that is not its name.
        """
        if not effect:
            return
        name = facts["name"]
        place = effect if isinstance(effect, str) else _first_place(effect)
        meant = place.rpartition(".")[2].replace("_", "").lower()
        if name in _PENALTIES and meant != name.replace("_", ""):
            why = f"LiteLLM would send it as {place}, which means something else"
            yield from self._refused(name, why)
            return
        rule: dict[str, Any] = {**facts, end: (key or name, place)}
        if not isinstance(effect, str):
            kept, lost, limits = _sorted_out(effect, place, translated=name in _TRANSLATED)
            if json.loads(next(iter(effect))) in lost:  # the typical value: few others arrive
                if kept:
                    yield OptionRule(**rule, requires={name: tuple(kept)})
                only = f"; only {', '.join(map(str, kept))} is sent" if kept else ""
                yield from self._refused(name, f"LiteLLM drops it on {self.on}{only}")
                return
            for value in lost:
                why = f"LiteLLM drops {value!r} on {self.on}, or makes something weaker of it"
                yield from self._refused(name, why, requires={name: (value,)})
            rule |= limits
            if name in _TRANSLATED:
                rule |= {end: (name, ""), "convert": Converted, "reason": _TERMS}
        yield OptionRule(**rule)

    def _thinking(self) -> Iterator[OptionRule]:
        effect = self.places.get("reasoning_effort")
        facts: dict[str, Any] = {"name": "thinking", "source": self.source}
        place = ("@@@thinking@@@", str(effect))
        if self.route.provider in _OLLAMAS and "gpt-oss" in self.route.model:
            # Ollama ignores or refuses others: https://github.com/ollama/ollama/issues/11751
            yield from OptionRule.levels("low medium high", chat=place, source=self.source)
        elif isinstance(effect, str):
            yield OptionRule(**facts, chat=place, convert=Converted.effort)
        elif effect:
            yield from self._levels(effect, facts)
        yield from self._refused("thinking", f"LiteLLM cannot say it on {self.on}")

    def _levels(self, effect: Mapping[str, Any], facts: dict[str, Any]) -> Iterator[OptionRule]:
        off = effect.get('"none"', {})
        # What other options have a rule for is not the level's to say.
        owned = {
            effect if isinstance(effect, str) else _first_place(effect)
            for name, effect in self.places.items()
            if name != "reasoning_effort"
        }
        for level in LEVELS:
            found = effect.get(json.dumps(level), {})
            rule = {**facts, "requires": {"thinking": (level, *_WORDS.get(level, ()))}}
            if found and "!" not in found and (level == "none" or found != off):
                sent = {place: found[place] for place in sorted(found) if place not in owned}
                convert = functools.partial(_sends, sent) if sent else Converted.effort
                place = ("@@@thinking@@@", next(iter(sent), ""))
                yield OptionRule(**rule, chat=place, convert=convert)
            elif level == "none" and any("thinking" in place for place in effect['"high"']):
                why = "the model reasons only when asked to; nothing is sent"
                place = ("@@@thinking@@@", "thinking")
                yield OptionRule(**rule, chat=place, convert=Converted.unsaid, reason=why)
            else:
                does = "switches reasoning off for" if found and found == off else "drops"
                yield OptionRule(**rule, reason=f"LiteLLM {does} the level {level!r} on {self.on}")

    # -------------------------------------------------------------------------- what Mellea adds

    def _mellea(self) -> Iterator[OptionRule]:
        facts: dict[str, Any] = {"source": _MELLEA}
        if not self.route.merges and self.route.provider not in _OLLAMAS:
            place = ("@@@system_prompt@@@", "")
            yield OptionRule(
                name="system_prompt", chat=place, convert=Converted, reason=_TERMS, **facts
            )
        if self.places.get("stream") not in ("stream", {"true": {"stream": True}, "false": {}}):
            yield OptionRule(name="stream", chat=("@@@stream@@@", ""), **facts)
        tools = self.places.get("tools")
        if not tools or self.route.provider == "ollama":  # where they would go into the prompt
            yield from self._refused("tools", f"LiteLLM has no tools on {self.on}")
        elif tools != "tools":
            yield OptionRule(name="tools", chat=("@@@tools@@@", ""), reason=_TERMS, **facts)
        yield from MELLEA_RULES

    # ----------------------------------------------------- what LiteLLM passes on unknowingly

    def _native(self) -> Iterator[OptionRule]:
        facts: dict[str, Any] = {"source": self.source}
        off: dict[str, Any] = {"special": (0, -1), **facts}  # of top_k: all tokens
        if self.route.provider in _OLLAMAS:
            where = "options.{}"
            yield from OptionRule.sent("top_k", wire=where, **off)
            names = "min_p repetition_penalty=repeat_penalty context_window=num_ctx"
            yield from OptionRule.sent(names, wire=where, **facts)
            for kind, names in _OLLAMA.items():
                yield from OptionRule.sent(names, wire=where, type=kind, **facts)
        elif self.compatible and self.route.merges:
            yield from OptionRule.sent("top_k", key="extra_body.{}", **off)
            yield from OptionRule.sent(_FURTHER, key="extra_body.{}", **facts)
        for name in _NATIVE.get(self.route.provider, "").split():
            if isinstance(place := self.places.get(name), str):
                yield from OptionRule.sent(name, wire=place, **facts)
        for name in _FURTHER.split():
            why = f"LiteLLM does not know it on {self.on}; extra={{{name!r}: ...}} passes it on"
            yield from self._refused(name, f"{why} unchecked")
        why = "the model or its server fixes it beforehand"
        yield from self._refused("context_window", why)
        yield from self._refused(" ".join(_OLLAMA.values()), "it is Ollama's")

    def _rest(self) -> Iterator[OptionRule]:
        place = self.places.get("zz_unknown")
        # Inside extra_body not even a name that LiteLLM knows is dropped.
        both = ("extra_body", "") if self.route.merges else ("", str(place).rpartition(".")[0])
        if self.route.merges or place:
            yield OptionRule(name="*", chat=both, completion=both, source=self.source)
        else:
            yield from self._refused("*", "LiteLLM has no place for further names")


def _sorted_out(
    effect: Mapping[str, Any], place: str, *, translated: bool
) -> tuple[list[Any], list[Any], dict[str, Any]]:
    """Sort out the values that were tried.

    Args:
        effect: What was seen.
        place: Where the option goes.
        translated: Whether other terms are as good as the value, if no two values share them.

    Returns:
        The values that arrive, those that do not, and the limits in which LiteLLM keeps numbers.
    """
    kept, lost, limits = [], [], {}
    seen: list[Any] = []
    for text, sent in effect.items():
        value, found = json.loads(text), sent.get(place)
        if translated:
            arrives = bool(sent) and "!" not in sent and sent not in seen
            seen.append(sent)
        else:
            arrives = found == value
        if arrives:
            kept.append(value)
        elif isinstance(found, int | float) and not translated:
            limits["minimum" if found > value else "maximum"] = found
        else:
            lost.append(value)
    return kept, lost, limits


_WORDS: Final[Mapping[str, tuple[bool, ...]]] = {"medium": (True,), "none": (False,)}


def _sends(places: Mapping[str, Any], value: bool | str) -> Converted:
    said = Converted.effort(value)
    (_, first), *others = places.items()
    reason = "; ".join(filter(None, (said.reason, _TERMS)))
    return Converted(said.value, first, wires=dict(others), reason=reason)


def _first_place(effect: Mapping[str, Any]) -> str:
    return next((place for sent in effect.values() for place in sent if place != "!"), "")


# The rules of a route that nobody knows; every route has rules for the same names.
RULES: Final = rules_for(Route(model_id="", provider="", model=""))
