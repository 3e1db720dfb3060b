"""What becomes of each option on a route: rules, made of what LiteLLM does there.

Mellea's backend always calls LiteLLM with `drop_params=True`, under which LiteLLM leaves out
whatever it takes to be unsupported, and changes some values, without a word. So nothing that
would be lost or changed is handed on: the rules refuse it first, and the report says so.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any, Final

from mellea_api import NormalizedOptions, OptionError, OptionProblem
from mellea_api.plugin import (
    MELLEA_RULES,
    Converted,
    OptionRule,
    OptionsRequest,
    Target,
    hookimpl,
)
from mellea_api_litellm.effects import TERMS, Effects
from mellea_api_litellm.routes import Route, find, leaves_official, litellm_version

_MELLEA: Final = "mellea 0.3.0 to 0.8.0, backends/litellm.py"
_LIMIT: Final = "@@@max_new_tokens@@@"

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
    "api_base": "give base_url= of start_session",
    "base_url": "give base_url= of start_session",
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
    "parallel_tool_calls": "boolean",
    "user": "text",
    "logit_bias": "object",
    "service_tier": "text",
    "store": "boolean",
    "prompt_cache_key": "text",
    "safety_identifier": "text",
    "verbosity": "text",
}
_PLAIN: Final = (
    *("temperature", "top_p", "stop", "seed", "presence_penalty", "frequency_penalty"),
    *("logprobs", "top_logprobs", "tool_choice", *_TYPES),
)
_CHAT_ONLY: Final = frozenset(
    {"logprobs", "top_logprobs", "tool_choice", "parallel_tool_calls", "store", "verbosity"}
)
_OLLAMA: Final = {
    "typical_p": "number",
    "repeat_last_n": "integer",
    "num_keep": "integer",
    "num_batch": "integer",
    "num_gpu": "integer",
    "main_gpu": "integer",
    "num_thread": "integer",
    "use_mmap": "boolean",
}
_OLLAMAS: Final = ("ollama", "ollama_chat")
# By their documentation; LiteLLM passes the names on without knowing them.
_SERVERS: Final = ("hosted_vllm", "llamafile", "lm_studio", "docker_model_runner", "lemonade")
_HOSTS: Final = ("deepinfra", "fireworks_ai", "openrouter", "together_ai")
_TOP_K: Final = ("anthropic", "gemini", "vertex_ai", "watsonx_text")


def rules_of(target: Target, route: Route) -> tuple[OptionRule, ...]:
    """Return the rules of a target's route."""
    openai = route.provider in ("openai", "text-completion-openai")
    return rules_for(route, compatible=openai and leaves_official(target))


@hookimpl
def normalize_options(request: OptionsRequest) -> NormalizedOptions | None:
    """Refuse names passed on unchecked that LiteLLM would not pass on."""
    route = find(request.target.model_id)
    if route is None or route.merges:
        return request.rendered
    problems = []
    for decision in request.rendered.decisions if request.rendered else ():
        name = decision.name.removeprefix("extra.")
        if name == decision.name:
            continue
        if name in route.own:
            why = "cannot be passed on: LiteLLM takes it for an argument of its own"
            problems.append(OptionProblem(decision.spelling, why))
        elif name in route.parameters:
            why = "cannot be passed on unchecked: LiteLLM would translate or drop it"
            problems.append(OptionProblem(decision.spelling, f"{why}; give it directly"))
    if problems:
        raise OptionError(problems=problems)
    return request.rendered


@functools.lru_cache(maxsize=256)
def rules_for(route: Route, *, compatible: bool = False) -> tuple[OptionRule, ...]:
    """Return the rules of a route.

    Args:
        route: The route.
        compatible: Whether an `openai/` route goes to another server than OpenAI's own.
    """
    return tuple(_Rules(route, compatible).all())


class _Rules:
    def __init__(self, route: Route, compatible: bool) -> None:
        self.route = route
        self.places = route.places
        self.compatible = compatible or route.provider in (*_SERVERS, *_HOSTS)
        self.source = f"litellm {litellm_version()}"
        name = f"{route.provider or 'unknown'} route"
        self.on = f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
        self.seen = Effects(route, self.on, self.source)

    def all(self) -> Iterator[OptionRule]:
        """Yield all rules, the particular before the general."""
        for name, reason in _RESERVED.items():
            yield OptionRule(name=name, reserved=True, reason=reason, source=_MELLEA)
        why = "an argument of LiteLLM's own, which is no option of a model"
        yield from self.seen.refused(OWN, why, reserved=True)
        yield from self._max_tokens()
        for name in _PLAIN:
            yield from self._plain(name)
        yield from self._thinking()
        yield from self._mellea()
        yield from self._native()
        yield from self._rest()

    # ------------------------------------------------------------------------ what LiteLLM knows

    def _max_tokens(self) -> Iterator[OptionRule]:
        limit = str(self.places.get("limit", ""))
        raw = self.route.raw_places is not None
        facts: dict[str, Any] = {"name": "max_tokens", "source": self.source}
        if self._has_two_apis():
            facts["minimum"] = 16
        for end in ("chat",) if raw else ("chat", "completion"):
            yield from self.seen.rules(self.places.get(limit), end, facts, key=_LIMIT, probed=limit)
        if raw:
            # Mellea calls it max_completion_tokens, which LiteLLM refuses at this endpoint.
            yield OptionRule(**facts, completion=("extra_body.max_tokens", "max_tokens"))
        yield from self.seen.refused("max_tokens", f"LiteLLM drops it on {self.on}")

    def _plain(self, name: str) -> Iterator[OptionRule]:
        if name == "stop" and (why := self._why_no_stop()):
            yield from self.seen.refused(name, why)
            return
        facts: dict[str, Any] = {"name": name, "type": _TYPES.get(name), "source": self.source}
        if name == "top_logprobs":
            facts["requires"] = {"logprobs": (True,)}
        yield from self.seen.rules(self.places.get(name), "chat", facts)
        if name not in _CHAT_ONLY:
            raw = self.places if self.route.raw_places is None else self.route.raw_places
            yield from self.seen.rules(raw.get(name), "completion", facts)
        yield from self.seen.refused(name, self._why_not(name))

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

    def _thinking(self) -> Iterator[OptionRule]:
        effect = self.places.get("reasoning_effort")
        key = "@@@thinking@@@"
        if isinstance(effect, str):
            yield OptionRule(
                name="thinking", chat=(key, effect), convert=Converted.effort, source=self.source
            )
        elif effect:
            yield from self.seen.levels(effect, key)
        yield from self.seen.refused("thinking", f"LiteLLM cannot say it on {self.on}")

    # -------------------------------------------------------------------------- what Mellea adds

    def _mellea(self) -> Iterator[OptionRule]:
        if self.places.get("system_prompt") != "messages":
            why = "sent as the provider has it: LiteLLM sees to it"
            place = ("@@@system_prompt@@@", "")
            yield OptionRule(
                name="system_prompt", chat=place, convert=Converted, reason=why, source=_MELLEA
            )
        if self.places.get("stream") not in ("stream", {"true": {"stream": True}, "false": {}}):
            yield OptionRule(name="stream", chat=("@@@stream@@@", ""), source=_MELLEA)
        tools = self.places.get("tools")
        ollama = self.route.provider == "ollama"  # where they would go into the prompt
        if tools != "tools" and tools and not ollama:
            place = ("@@@tools@@@", "")
            yield OptionRule(name="tools", chat=place, reason=TERMS, source=_MELLEA)
        elif tools != "tools":
            yield from self.seen.refused("tools", f"LiteLLM has no tools on {self.on}")
        yield from MELLEA_RULES

    # ----------------------------------------------------- what LiteLLM passes on unknowingly

    def _rest(self) -> Iterator[OptionRule]:
        place = self.places.get("zz_unknown")
        if self.route.merges:
            # Inside extra_body not even a name that LiteLLM knows is dropped.
            yield from self._sent("*", ("extra_body", ""))
        elif place:
            yield from self._sent("*", ("", str(place).rpartition(".")[0]))
        else:
            yield from self.seen.refused("*", "LiteLLM has no place for further names")

    def _native(self) -> Iterator[OptionRule]:
        provider = self.route.provider
        ollama = provider in _OLLAMAS
        for name in ("top_k", "min_p", "repetition_penalty"):
            key = "repeat_penalty" if ollama and name == "repetition_penalty" else name
            place = self.places.get(key)
            here = ollama or (name == "top_k" and provider in _TOP_K)
            here |= name == "repetition_penalty" and provider == "watsonx_text"
            if here and isinstance(place, str):
                yield from self._sent(name, (key, place))
            elif self.compatible and self.route.merges:
                yield from self._sent(name, (f"extra_body.{key}", key))
            yield from self.seen.refused(name, _PASS_ON.format(name=name, on=self.on))
        place = self.places.get("num_ctx")
        if ollama and isinstance(place, str):
            yield from self._sent("context_window", ("num_ctx", place))
        why = "the model or its server fixes it beforehand"
        yield from self.seen.refused("context_window", why)
        for name, kind in _OLLAMA.items():
            if ollama:
                yield from self._sent(name, (name, f"options.{name}"), type=kind)
            yield from self.seen.refused(name, "it is Ollama's")

    def _sent(self, name: str, place: tuple[str, str], **facts: Any) -> Iterator[OptionRule]:
        yield OptionRule(name=name, chat=place, completion=place, source=self.source, **facts)


_PASS_ON: Final = "LiteLLM does not know it on {on}; extra={{{name!r}: ...}} passes it on unchecked"


# The rules of a route that nobody knows; every route has rules for the same names.
RULES: Final = rules_for(Route(model_id="", provider="", model=""))
