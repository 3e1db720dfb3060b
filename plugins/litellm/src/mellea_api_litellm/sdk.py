"""Sessions through LiteLLM: the one module of this plugin that imports Mellea."""

from __future__ import annotations

import asyncio
import functools
import os
import types
from typing import Any, Final

# LiteLLM otherwise fetches its list of models and prices while it is being imported.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

import litellm

from mellea_api import ConfigurationError, PluginError, Secret, SessionRequest
from mellea_api._provider.authoring import construct, model_not_checked
from mellea_api._secrecy.logs import logger
from mellea_api.plugin import Target
from mellea_api_litellm import check, probe
from mellea_api_litellm.http import OWN_CLIENT, Clients, in_use
from mellea_api_litellm.needs import NO_KEYS, variable_of
from mellea_api_litellm.routes import Route, differences, find, learn, snapshot
from mellea_api_litellm.settings import HANDED, OPENING, flag

__all__ = ["create_session"]

litellm.suppress_debug_info = True  # it prints advice to the standard output

_PATIENCE: Final = 30.0
"""Seconds for the server's answer while a session is opened, where there is no timeout."""
_NO_KEY: Final = "no-key-needed"
"""What a server without keys is sent: else LiteLLM sends it OPENAI_API_KEY, or insists on one."""


def create_session(request: SessionRequest) -> Any:
    """Ask the installed LiteLLM about the route, and the server if that is free; then build.

    Raises:
        ModelNotFoundError: If there is no such route, or the server does not have the model.
        CredentialError: If what the route needs is not there, or was rejected.
        BackendUnavailableError: If the server cannot be reached.
        ConfigurationError: If a setting cannot be used.
    """
    target = request.target
    asks = flag(target, "check", True)
    route = _live_route(request)
    reached = check.access(target, route, request.credentials)
    mocked = "mock_response" in target.settings
    if reached.lacking and not mocked:
        raise check.missing(target, reached)
    if not mocked:
        why = "check=False"
        if asks:
            why = check.check_model(target, reached, request.timeout or _PATIENCE)
        if why:
            model_not_checked(request, why)
    if route.provider in OWN_CLIENT:
        logger.warning(
            "On %s LiteLLM uses an HTTP client that cannot be changed: it follows redirects with "
            "the prompt, and reads answers however large they get.",
            target.model_id,
        )
    from mellea import MelleaSession

    backend = construct(_backend_class(), target, *OPENING, *HANDED)
    backend._batches = route.raw_places is not None
    backend._handed = _arguments(request, reached)
    backend._clients = functools.partial(Clients, route.provider)
    # The core keeps one for each event loop in its place, and closes it there.
    backend._client_cache = types.SimpleNamespace(cache={}, aclose=Clients.close)
    backend._held = (reached.key, *request.credentials.values())  # masked as long as they live
    return MelleaSession(backend)


def _live_route(request: SessionRequest) -> Route:
    """Return the route as the installed LiteLLM has it, and say where the snapshot was wrong."""
    model_id = request.target.model_id
    known = find(model_id)
    split = probe.provider_of(model_id)
    if split is None:
        raise check.no_route(request.target)
    places = probe.places(*split, model_id)
    old = {} if known is None else dict(known.places)
    differing = differences(old, places)
    if differing and (known is None or not known.live):
        logger.warning(
            "The installed LiteLLM treats %s otherwise than litellm %s, which is what "
            "`mellea-api options` goes by: %s. What is installed counts for this session.",
            model_id,
            snapshot()["litellm"],
            ", ".join(differing[:8]),
        )
    if differing:
        learn(model_id, *split, places)
    route = find(model_id)
    assert route is not None
    return route


def _arguments(request: SessionRequest, reached: check.Access) -> dict[str, Any]:
    """Return what goes to LiteLLM with each call, beside the options."""
    target = request.target
    # Left alone, LiteLLM has OpenAI's SDK try again twice behind the caller's back.
    handed: dict[str, Any] = {"max_retries": 0}
    handed |= {name: value for name, value in target.settings.items() if name in HANDED}
    handed |= _no_gateway()
    if target.base_url:
        handed["api_base"] = target.base_url
    key = reached.key
    # Keys under other names (a token, a client's secret) LiteLLM reads for itself.
    if key is not None and (
        not key.source.startswith("environment") or key.source.endswith(("API_KEY", "APIKEY"))
    ):
        _check_file(target, key)
        handed["api_key"] = key.reveal()
    elif key is None and reached.route.merges and (target.base_url or reached.found is not None):
        handed["api_key"] = _NO_KEY
    return handed


def _check_file(target: Target, key: Secret) -> None:
    """Refuse what is no key and comes from a file, where LiteLLM does not look."""
    variable = variable_of(key)
    if variable in NO_KEYS:
        raise ConfigurationError(
            f"Cannot use {variable}_FILE for {target.model_id!r}: LiteLLM reads {variable} for "
            "itself, from the environment alone.",
            next_step=f"Set {variable}, or use a key of the provider's, which can be in a file.",
            backend=target.backend,
            variable=f"{variable}_FILE",
        )


def _no_gateway() -> dict[str, Any]:
    """Return what keeps LiteLLM from looking for tools of its MCP gateway among the given ones.

    It needs a package for that (`mcp`) which it does not bring: without it, every call with tools
    would fail. Only a LiteLLM that knows the argument for its own is given it.
    """
    from litellm.litellm_core_utils import core_helpers

    argument = {"_skip_mcp_handler": True}
    own = getattr(core_helpers, "filter_internal_params", dict)
    return {} if own(argument) else argument


@functools.cache
def _backend_class() -> Any:
    from mellea.backends.litellm import LiteLLMBackend

    for seam in ("_make_backend_specific_and_remove", "_generate_from_chat_context_standard"):
        if not hasattr(LiteLLMBackend, seam):
            raise PluginError(
                f"This Mellea's LiteLLMBackend has no {seam}, through which address, key and "
                "HTTP clients go.",
                next_step="Upgrade mellea-api-litellm.",
                backend="litellm",
            )

    # The private name where this Mellea has it; the public one then ends there.
    names = ("_generate_from_raw", "generate_from_raw")
    name = next(name for name in names if name in vars(LiteLLMBackend))
    raw = getattr(LiteLLMBackend, name)

    class Routed(LiteLLMBackend):  # type: ignore[misc, unused-ignore]
        """Mellea's backend, with the address, the key and the HTTP clients of its session.

        Mellea up to 0.6 hands no address to LiteLLM, which would then send the key to the
        provider's default one; and no Mellea has a place for a key. They are added after Mellea
        has written down the options for its logs.
        """

        _batches: bool
        _handed: dict[str, Any]
        _held: tuple[Any, ...]
        _clients: Any
        _client_cache: Any

        def _make_backend_specific_and_remove(self, model_options: dict[str, Any]) -> Any:
            own = super()._make_backend_specific_and_remove(model_options)
            return {**own, **self._handed}

        async def _generate_from_chat_context_standard(self, *args: Any, **arguments: Any) -> Any:
            with in_use(self._client_cache.get_or_create(None, self._clients)):
                return await super()._generate_from_chat_context_standard(*args, **arguments)

        async def _each_alone(self, actions: Any, ctx: Any, **arguments: Any) -> Any:
            """Of several prompts LiteLLM makes one chat, where it has no raw endpoint."""
            with in_use(self._client_cache.get_or_create(None, self._clients)):
                if self._batches or len(actions) < 2:
                    return await raw(self, actions, ctx, **arguments)
                found = await asyncio.gather(
                    *(raw(self, [action], ctx, **arguments) for action in actions)
                )
            if not isinstance(found[0], tuple):
                return [answer for answers in found for answer in answers]
            return [answer for answers, _ in found for answer in answers], None

        if hasattr(LiteLLMBackend, "close"):  # 0.3's cleanup would close what others still use

            def close(self) -> None:
                super().close()
                self._client_cache.clear()

            async def aclose(self) -> None:
                await super().aclose()
                await self._client_cache.aclear()

    setattr(Routed, name, Routed._each_alone)
    Routed.__name__ = Routed.__qualname__ = "LiteLLMBackend"
    return Routed
