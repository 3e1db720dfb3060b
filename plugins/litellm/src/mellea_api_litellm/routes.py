"""What follows from a model id, which for LiteLLM is a route: `provider/model`, or a known model.

Read from `snapshot.json`, so that nothing here imports LiteLLM. Once a session has started, what
the installed LiteLLM said about its route counts instead (`learn`).
"""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any, Final
from urllib.parse import urlsplit

from attrs import field, frozen

from mellea_api.plugin import Target

__all__ = [
    "Listed",
    "Route",
    "differences",
    "find",
    "forget",
    "learn",
    "leaves_openai",
    "listed",
    "snapshot",
]

_SHORTEST_FAMILY: Final = 2


@frozen(kw_only=True, eq=False)
class Route:
    """One route.

    Args:
        model_id: The route as it was asked for.
        provider: LiteLLM's name of the provider.
        model: The provider's name of the model.
        places: Where each of LiteLLM's parameters goes, as `probe.places` has it.
        raw_places: The same where LiteLLM has a raw completion endpoint; None where it makes a
            chat of one message instead.
        live: Whether the installed LiteLLM said so, and not the snapshot.
    """

    model_id: str
    provider: str
    model: str
    places: Mapping[str, Any] = field(factory=dict)
    raw_places: Mapping[str, Any] | None = None
    live: bool = False

    @property
    def merges(self) -> bool:
        """Whether LiteLLM merges an `extra_body` into the JSON: so for what speaks OpenAI's API."""
        return self.provider in snapshot()["openai_compatible"] or self.provider == _TEXT


@frozen
class Listed:
    """One route that LiteLLM's own list has.

    Args:
        model_id: What `model_id` must be.
        provider: LiteLLM's name of the provider.
        context_length: Tokens of input, if LiteLLM knows.
    """

    model_id: str
    provider: str
    context_length: int | None


_TEXT: Final = "text-completion-openai"


@functools.cache
def snapshot() -> dict[str, Any]:
    """Return what `tools/litellm_snapshot.py` wrote."""
    text = files("mellea_api_litellm").joinpath("snapshot.json").read_text("utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


_live: dict[str, tuple[str, str, Mapping[str, Any]]] = {}
_live_lock = threading.Lock()


def learn(model_id: str, provider: str, model: str, places: Mapping[str, Any]) -> None:
    """Let what the installed LiteLLM says about a route count from now on."""
    with _live_lock:
        _live[model_id] = (provider, model, places)
    _find.cache_clear()


def forget() -> None:
    """Let the snapshot count again, for every route."""
    with _live_lock:
        _live.clear()
    _find.cache_clear()


def find(model_id: str) -> Route | None:
    """Return a model id's route; None if LiteLLM would not know whom to ask."""
    return _find(model_id)


@functools.lru_cache(maxsize=512)
def _find(model_id: str) -> Route | None:
    live = _live.get(model_id)
    if live is not None:
        provider, model, places = live
    else:
        split = _split(model_id)
        number = _kind(snapshot()["providers"][split[0]], split[1]) if split else None
        if split is None or number is None:
            return None
        (provider, model), places = split, snapshot()["kinds"][number]
    text = provider == _TEXT or (provider == "openai" and not _is_openais_chat(model))
    return Route(
        model_id=model_id,
        provider=provider,
        model=model,
        places=places,
        raw_places=snapshot()["kinds"][snapshot()["providers"][_TEXT]["kind"]] if text else None,
        live=live is not None,
    )


def _is_openais_chat(model: str) -> bool:
    """Return whether LiteLLM makes a chat of a raw completion: so for OpenAI's own chat models."""
    return model in snapshot()["providers"]["openai"]["models"]


def _split(model_id: str) -> tuple[str, str] | None:
    providers = snapshot()["providers"]
    prefix, slash, rest = model_id.partition("/")
    if slash and rest and prefix in providers:
        return _provider_for(prefix, rest), rest
    provider = _bare().get(model_id)
    if provider is None and ("ft:gpt-4" in model_id or "ft:gpt-3.5-turbo" in model_id):
        provider = "openai"
    return None if provider is None else (provider, model_id)


def _provider_for(prefix: str, model: str) -> str:
    """Return the provider that LiteLLM goes to, for some models another than the prefix."""
    if prefix == "cohere" and model in snapshot()["providers"].get("cohere_chat", _NONE)["models"]:
        return "cohere_chat"
    return prefix


_NONE: Final[dict[str, Any]] = {"models": {}}


@functools.cache
def _bare() -> dict[str, str]:
    """Return the provider of each model that needs no prefix."""
    return {
        model: provider
        for provider, known in snapshot()["providers"].items()
        for model, (_, _, _, bare) in known["models"].items()
        if bare
    }


def _kind(known: Mapping[str, Any], model: str) -> int | None:
    """Return the number of what holds for a model: its own, its family's, the provider's."""
    models = known["models"]
    for length in range(len(model), _SHORTEST_FAMILY - 1, -1):
        found = models.get(model[:length])
        # A family's name ends where something else begins: "o1" is not the family of "o100".
        if found is not None and (length == len(model) or not model[length].isalnum()):
            number: int = found[0]
            return number
    default: int | None = known["kind"]
    return default


def leaves_openai(target: Target) -> bool:
    """Return whether a target's address is not OpenAI's own."""
    if target.stated_server is not None:
        return target.stated_server == "compatible"
    address = target.base_url or ""
    host = urlsplit(address if "//" in address else f"//{address}").hostname or ""
    return bool(host) and host != "api.openai.com" and not host.endswith(".api.openai.com")


def listed() -> Iterator[Listed]:
    """Yield every route in LiteLLM's list of models that generate text."""
    for provider, known in snapshot()["providers"].items():
        for model, (_, context, shown, bare) in known["models"].items():
            if shown:
                yield Listed(model if bare else f"{provider}/{model}", provider, context)


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Say in which parameters two answers of `probe.places` differ."""
    return [
        f"{name} ({_shown(old.get(name))} -> {_shown(new.get(name))})"
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name)
    ]


def _shown(effect: Any) -> str:
    if effect is None:
        return "not sent"
    return effect if isinstance(effect, str) else "converted"
