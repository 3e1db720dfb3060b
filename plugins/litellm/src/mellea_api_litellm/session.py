"""Sessions through LiteLLM: the one module of this plugin that imports Mellea."""

from __future__ import annotations

import asyncio
import functools
import os
import types
from typing import TYPE_CHECKING, Any, Final

# LiteLLM otherwise fetches its list of models and prices while it is being imported.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

import litellm
from litellm.types.utils import ModelResponseStream, StreamingChoices

from mellea_api.plugin import SessionRequest, hookimpl
from mellea_api_litellm.credentials import handed, provider_fields
from mellea_api_litellm.http import Clients, in_use
from mellea_api_litellm.routes import Route, find, no_route
from mellea_api_litellm.servers import check_model

if TYPE_CHECKING:
    from mellea import MelleaSession

litellm.suppress_debug_info = True  # it prints advice to the standard output

# What a server without keys is sent: else LiteLLM sends it OPENAI_API_KEY, or insists on one.
_NO_KEY: Final = "no-key-needed"
# Else LiteLLM looks for tools of its MCP gateway among those of a call. It needs a package for that
# (`mcp`) which it does not bring, and every call with tools would fail.
_NO_GATEWAY: Final = {"_skip_mcp_handler": True}


@hookimpl
async def create_session(request: SessionRequest) -> MelleaSession:
    """Ask the server for the model if that is free; then build.

    Raises:
        ModelNotFoundError: If there is no such route, or the server does not have the model.
    """
    target = request.target
    route = find(target.model_id)
    if route is None:
        raise no_route(target.model_id)
    if not request.setting("check"):
        request.unchecked("check=False")
    elif not request.setting("mock_response"):
        await check_model(request, route)
    session = request.build(_backend_class())
    backend: Any = session.backend
    backend._batches = route.raw_places is not None
    backend._handed = _arguments(request, route)
    backend._clients = functools.partial(Clients, route.provider)
    # The core keeps one for each event loop in its place, and closes it there.
    backend._client_cache = types.SimpleNamespace(cache={}, aclose=Clients.close)
    backend._held = tuple(request.credentials.values())  # masked as long as they live
    return session


def _arguments(request: SessionRequest, route: Route) -> dict[str, Any]:
    """Return what goes to LiteLLM with each call, beside the options."""
    target = request.target
    own = ("check", "provider")
    settings = {name: value for name, value in target.settings.items() if name not in own}
    # Left alone, LiteLLM has OpenAI's SDK try again twice behind the caller's back.
    retries = {} if request.for_program else {"max_retries": 0}
    arguments = {**retries, **settings, **handed(request), **_NO_GATEWAY}
    if target.base_url:
        arguments["api_base"] = target.base_url
    needless = provider_fields(route.provider)[0].required == "never"
    if "api_key" not in request.credentials and route.merges and (target.base_url or needless):
        arguments["api_key"] = _NO_KEY
    return arguments


@functools.cache
def _backend_class() -> Any:
    from mellea.backends.litellm import LiteLLMBackend

    # Address, key and HTTP clients go through these: a Mellea that lacks one fails here at once.
    specific = LiteLLMBackend._make_backend_specific_and_remove
    chat = LiteLLMBackend._generate_from_chat_context_standard
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
            return {**specific(self, model_options), **self._handed}

        async def _generate_from_chat_context_standard(self, *args: Any, **arguments: Any) -> Any:
            with in_use(self._client_cache.get_or_create(None, self._clients)):
                return await chat(self, *args, **arguments)

        async def processing(self, mot: Any, chunk: Any, **further: Any) -> None:
            """Read a piece of a stream; LiteLLM's last one may have usage and no choices."""
            if isinstance(chunk, ModelResponseStream) and not chunk.choices:
                chunk.choices = [StreamingChoices()]
            await super().processing(mot, chunk, **further)

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
