"""What becomes of each option on a route: rules, made of what LiteLLM does there.

Mellea's backend always calls LiteLLM with `drop_params=True`, under which LiteLLM leaves out
whatever it takes to be unsupported, and changes some values, without a word. So nothing that
would be lost or changed is handed on: the rules refuse it first, and the report says so.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any, Final

from mellea_api._contract.descriptor import Endpoint
from mellea_api.plugin import (
    MELLEA_RULES,
    OptionRule,
    Target,
    effort,
    system_message,
    tools_as_json,
)
from mellea_api_litellm.effects import Effects, an
from mellea_api_litellm.routes import Route, find, leaves_openai, snapshot

__all__ = ["DEFAULT_MODEL", "OWN", "RULES", "rules_for", "rules_of"]

DEFAULT_MODEL: Final = "ollama_chat/granite4:micro"

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

OWN: Final = (
    *("custom_llm_provider", "mock_response", "num_retries", "max_retries", "metadata"),
    *("fallbacks", "model_list", "deployment_id", "caching", "allowed_openai_params"),
)
"""LiteLLM's own arguments that somebody may want to give as options."""

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


def rules_of(target: Target) -> tuple[OptionRule, ...]:
    """Return the rules of a target's route, or those of a route that nobody knows."""
    model_id = target.model_id
    route = find(model_id)
    if route is None:
        provider = model_id.partition("/")[0] if "/" in model_id else ""
        return rules_for(Route(model_id=model_id, provider=provider, model=model_id))
    openai = route.provider in ("openai", "text-completion-openai")
    return rules_for(route, compatible=openai and leaves_openai(target))


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
        self.compatible = compatible or route.provider in (*_SERVERS, *_HOSTS)
        self.source = f"litellm {snapshot()['litellm']}" if not route.live else "this litellm"
        self.on = an(f"{route.provider} route" if route.provider else "unknown route")
        self.seen = Effects(route, self.on, self.source)

    def all(self) -> Iterator[OptionRule]:
        """Yield all rules, the particular before the general."""
        for name, reason in _RESERVED.items():
            yield OptionRule(name=name, reserved=True, reason=reason, source=_MELLEA)
        for name in OWN:
            why = "an argument of LiteLLM's own, which is no option of a model"
            yield OptionRule(name=name, reserved=True, reason=why, source=self.source)
        yield from self._max_tokens()
        for name in _PLAIN:
            yield from self._plain(name)
        yield from self._thinking()
        yield from self._mellea()
        yield from self._native()
        yield (
            self.seen.refused("*", "LiteLLM has no place for further names")
            if (not self._passes())
            else self._rest()
        )

    # ------------------------------------------------------------------------ what LiteLLM knows

    def _max_tokens(self) -> Iterator[OptionRule]:
        limit = str(self.route.places.get("limit", ""))
        effect = self.route.places.get(limit)
        raw = self.route.raw_places
        facts: dict[str, Any] = {"name": "max_tokens", "source": self.source}
        if self._has_two_apis():
            facts["minimum"] = 16
        ends: tuple[Endpoint, ...] = ("chat", "completion") if raw is None else ("chat",)
        for end in ends:
            yield from self.seen.rules(effect, end, facts, key=_LIMIT, probed=limit)
        if raw is not None:
            # Mellea calls it max_completion_tokens, which LiteLLM refuses at this endpoint.
            inside = ("extra_body.max_tokens", "max_tokens")
            yield OptionRule(name="max_tokens", completion=inside, source=self.source)
        yield self.seen.refused("max_tokens", f"LiteLLM drops it on {self.on}")

    def _plain(self, name: str) -> Iterator[OptionRule]:
        if name == "stop" and self._is_unstoppable():
            yield self.seen.refused(name, "OpenAI refuses it for this model, whatever LiteLLM says")
            return
        if name == "stop" and self._has_two_apis():
            why = "with it LiteLLM asks another API of Bedrock's, which refuses it for this model"
            yield self.seen.refused(name, why)
            return
        facts: dict[str, Any] = {"name": name, "type": _TYPES.get(name), "source": self.source}
        if name == "top_logprobs":
            facts["requires"] = {"logprobs": (True,)}
        yield from self.seen.rules(self.route.places.get(name), "chat", facts)
        if name not in _CHAT_ONLY:
            raw = self.route.raw_places
            places = self.route.places if raw is None else raw
            yield from self.seen.rules(places.get(name), "completion", facts)
        yield self.seen.refused(name, self._why_not(name))

    def _is_unstoppable(self) -> bool:
        named = self.route.model.startswith(("o3", "o4-mini"))
        here = self.route.provider in ("openai", "azure") and not self.compatible
        return here and named and not self.route.model.startswith("o3-mini")

    def _has_two_apis(self) -> bool:
        """Return whether LiteLLM chooses between Bedrock's Chat Completions and its Converse.

        So for newer GPTs (`bedrock_request_needs_converse`), by what a request holds; Converse has
        the other options elsewhere, and there LiteLLM raises `max_tokens` below 16.
        """
        places = self.route.places
        chat = places.get("max_completion_tokens") == "max_completion_tokens"
        return self.route.provider == "bedrock" and chat and places.get("stop") == "stopSequences"

    def _why_not(self, name: str) -> str:
        if not self.route.provider:
            return "LiteLLM does not know this route, as far as is known without asking it"
        if name == "top_logprobs" and self.route.places.get(name):
            return "a chat with logprobs=True has it"
        if self.route.places.get(name):
            return "Mellea's raw endpoint is not given it"
        return f"LiteLLM drops it on {self.on}"

    def _thinking(self) -> Iterator[OptionRule]:
        effect = self.route.places.get("reasoning_effort")
        key = "@@@thinking@@@"
        if isinstance(effect, str):
            yield OptionRule(
                name="thinking",
                chat=(key, effect),
                convert=effort,
                source=self.source,
            )
        elif effect:
            yield from self.seen.levels(effect, key)
        yield self.seen.refused("thinking", f"LiteLLM cannot say it on {self.on}")

    # -------------------------------------------------------------------------- what Mellea adds

    def _mellea(self) -> Iterator[OptionRule]:
        where = self.route.places.get("system_prompt", "")
        yield OptionRule(
            name="system_prompt",
            chat=("@@@system_prompt@@@", "messages" if where == "messages" else ""),
            convert=system_message,
            reason="" if where == "messages" else "sent as the provider has it: LiteLLM sees to it",
            source=_MELLEA,
        )
        stream = self.route.places.get("stream")
        always = {"true": {"stream": True}, "false": {}}
        shown = stream == "stream" or stream == always
        yield OptionRule(
            name="stream",
            chat=("@@@stream@@@", "stream" if shown else ""),
            source=_MELLEA,
        )
        tools = self.route.places.get("tools")
        if isinstance(tools, str):
            yield OptionRule(
                name="tools",
                chat=("@@@tools@@@", tools),
                convert=tools_as_json,
                source=_MELLEA,
            )
        elif tools and self.route.provider != "ollama":  # which puts them into the prompt
            yield OptionRule(
                name="tools",
                chat=("@@@tools@@@", ""),
                reason="LiteLLM says it in the provider's terms",
                source=_MELLEA,
            )
        else:
            yield self.seen.refused("tools", f"LiteLLM has no tools on {self.on}")
        yield from MELLEA_RULES

    # ----------------------------------------------------- what LiteLLM passes on unknowingly

    def _passes(self) -> bool:
        return self.route.merges or bool(self.route.places.get("zz_unknown"))

    def _rest(self) -> OptionRule:
        if self.route.merges:
            # Inside extra_body not even a name that LiteLLM knows is dropped.
            native = ("extra_body", "")
        else:
            place = self.route.places["zz_unknown"]
            prefix = place.rpartition(".")[0] if isinstance(place, str) else ""
            native = ("", prefix)
        return OptionRule(name="*", chat=native, completion=native, source=self.source)

    def _native(self) -> Iterator[OptionRule]:
        ollama = self.route.provider in _OLLAMAS
        for name in ("top_k", "min_p", "repetition_penalty"):
            key = "repeat_penalty" if ollama and name == "repetition_penalty" else name
            place = self.route.places.get(key)
            here = ollama or (name == "top_k" and self.route.provider in _TOP_K)
            here |= name == "repetition_penalty" and self.route.provider == "watsonx_text"
            if here and isinstance(place, str):
                yield self._everywhere(name, (key, place))
            elif self.compatible and self.route.merges:
                yield self._everywhere(name, (f"extra_body.{key}", key))
            yield self.seen.refused(name, _PASS_ON.format(name=name, on=self.on))
        place = self.route.places.get("num_ctx")
        if ollama and isinstance(place, str):
            yield self._everywhere("context_window", ("num_ctx", place))
        yield self.seen.refused("context_window", "the model or its server fixes it beforehand")
        for name, kind in _OLLAMA.items():
            if ollama:
                native = (name, f"options.{name}")
                yield self._everywhere(name, native, type=kind)
            yield self.seen.refused(name, "it is Ollama's")

    # ------------------------------------------------------------------------------------ helpers

    def _everywhere(self, name: str, native: tuple[str, str], **facts: Any) -> OptionRule:
        return OptionRule(name=name, chat=native, completion=native, source=self.source, **facts)


_PASS_ON: Final = "LiteLLM does not know it on {on}; extra={{{name!r}: ...}} passes it on unchecked"


_DEFAULT: Final = find(DEFAULT_MODEL)
assert _DEFAULT is not None
RULES: Final = rules_for(_DEFAULT)
"""The rules of the default model's route; every route has rules for the same names."""
