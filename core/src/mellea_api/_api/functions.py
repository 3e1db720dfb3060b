"""The functions that most programs need, on one registry that they share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args, overload

from mellea_api._api.arguments import one_of, policy_of, seconds, target_and_credentials
from mellea_api._api.environment import DEFAULT_BACKEND, checked_run_id
from mellea_api._contract.descriptor import ModelInfo
from mellea_api._contract.errors import ConfigurationError
from mellea_api._contract.option_rule import Endpoint
from mellea_api._contract.reports import CredentialReport, ModelListing, NormalizedOptions
from mellea_api._contract.requests import Freshness, Policy, SessionRequest
from mellea_api._contract.settings import refuse_unknown
from mellea_api._credentials.find import from_arguments
from mellea_api._options.rules import own
from mellea_api._options.spelling import Unknown
from mellea_api._registry.registry import Registry, shared_registry
from mellea_api._secrecy.veil import hidden, hide

if TYPE_CHECKING:
    from mellea import MelleaSession
    from mellea.core import Context
    from mellea.stdlib.context import ChatContext, SimpleContext

    from mellea_api._registry.backend import Backend

ContextT = TypeVar("ContextT", bound="Context")


# As of Mellea's own function, the type of the session's context follows from the arguments.
@overload
def start_session(
    backend_name: str,
    model_id: Any,
    ctx: ContextT,
    *,
    allow_context_type_change: Literal[False] | None = ...,
    **arguments: Any,
) -> MelleaSession[ContextT]: ...
@overload
def start_session(
    backend_name: str = ...,
    model_id: Any = ...,
    *,
    ctx: ContextT,
    allow_context_type_change: Literal[False] | None = ...,
    **arguments: Any,
) -> MelleaSession[ContextT]: ...
@overload
def start_session(
    backend_name: str = ...,
    model_id: Any = ...,
    ctx: None = ...,
    *,
    context_type: Literal["chat"],
    allow_context_type_change: Literal[False] | None = ...,
    **arguments: Any,
) -> MelleaSession[ChatContext]: ...
@overload
def start_session(
    backend_name: str = ...,
    model_id: Any = ...,
    ctx: None = ...,
    *,
    context_type: Literal["simple"] | None = ...,
    model_options: Mapping[str, Any] | None = ...,
    plugins: Sequence[Any] | None = ...,
    allow_context_type_change: Literal[False] | None = ...,
    base_url: str | None = ...,
    timeout: float | None = ...,
    unsupported: Policy | None = ...,
    unknown: Unknown = ...,
    run_id: str | None = ...,
    registry: Registry | None = ...,
    **backend_kwargs: Any,
) -> MelleaSession[SimpleContext]: ...
@overload
def start_session(
    backend_name: str = ...,
    model_id: Any = ...,
    ctx: Context | None = ...,
    *,
    allow_context_type_change: bool,
    **arguments: Any,
) -> MelleaSession[Context]: ...
def start_session(
    backend_name: str = DEFAULT_BACKEND,
    model_id: Any = None,
    ctx: Any = None,
    *,
    context_type: Literal["simple", "chat"] | None = None,
    model_options: Mapping[str, Any] | None = None,
    plugins: Sequence[Any] | None = None,
    allow_context_type_change: bool | None = None,
    base_url: str | None = None,
    timeout: float | None = None,
    unsupported: Policy | None = None,
    unknown: Unknown = "error",
    run_id: str | None = None,
    registry: Registry | None = None,
    **backend_kwargs: Any,
) -> MelleaSession:
    """Start a Mellea session on any installed backend.

    The arguments are those of `mellea.start_session` over its versions, and more. Options mean
    the same on every backend; what becomes of each is in `options_report(session)` after a call,
    and in `explain_options` without one.

    A session of single calls may be shared between threads and tasks. One that is a conversation
    may not: a call that overlaps another one raises `ConcurrentUseError`, since one of them would
    lose its turn; `session.clone()` gives each its own.

    Args:
        backend_name: The backend's name or an alias.
        model_id: The model's name, a `ModelIdentifier` of Mellea, or None for the backend's
            default model.
        ctx: A context of Mellea to go on with; not together with `context_type`.
        context_type: `simple` (each call alone; the default) or `chat` (a conversation).
        model_options: Defaults for every call of the session. Beside options, `extra` may hold
            a dict of provider options that are passed on unchecked.
        plugins: Plugins of Mellea, for this session only; needs a Mellea that has them.
        allow_context_type_change: As in Mellea; needs a Mellea that has it.
        base_url: The server's address, instead of the environment's or the default one.
        timeout: Seconds allowed for each whole call, above 0; None for no limit. Opening the
            session has the same limit for each answer of the server.
        unsupported: What to do about options that this backend, model or server does not have:
            `warn` (log it, once per session and option), `error`, or `drop` (report only). None
            takes MELLEA_API_UNSUPPORTED, then `warn`.
        unknown: What to do about options that nobody knows: `error`, or `pass` them on.
        run_id: Put on log records and telemetry spans of this session's calls; one line of at
            most 200 characters.
        registry: Where to look for the backend; None for the shared registry.
        backend_kwargs: Credentials by field name (`api_key=`), and whatever else the backend
            takes, such as `pull=True` for Ollama. `server="official"` says that `base_url` is a
            gateway before the provider's own server, `server="compatible"` that it is another.

    Returns:
        A real `MelleaSession`.

    Raises:
        BackendNotFoundError: No such backend, or its distribution is not installed.
        PluginError: The backend's plugin, or an extension, is broken.
        OptionError: The options cannot be used.
        ConfigurationError: Another argument or environment variable cannot be used.
        CredentialError: A credential is missing or was rejected.
        ModelNotFoundError: The backend does not have the model.
        BackendUnavailableError: The backend cannot be reached.
        RequestTimeoutError: The backend did not answer in time.
    """
    arguments = hidden({"base_url": base_url, **backend_kwargs})
    base_url, backend_kwargs = None, {}  # tools draw the variables of a traceback
    if ctx is not None and context_type is not None:
        raise ConfigurationError(
            "Cannot start a session with both ctx= and context_type=.",
            next_step="Give one of them.",
            backend=backend_name,
        )
    session_arguments: dict[str, Any] = {}
    if plugins:
        session_arguments["plugins"] = list(plugins)
    if allow_context_type_change is not None:
        session_arguments["allow_context_type_change"] = allow_context_type_change
    backend = (registry or shared_registry()).backend(backend_name)
    # `session_request` would take these for its own arguments.
    ours = {"backend", "context", "session_arguments"}
    if taken := ours.intersection(arguments):
        refuse_unknown(backend.descriptor, sorted(taken))
    request = session_request(
        backend,
        model_id,
        context=ctx if ctx is not None else context_type or "simple",
        model_options=model_options,
        timeout=timeout,
        unsupported=unsupported,
        unknown=unknown,
        run_id=run_id,
        session_arguments=session_arguments,
        **arguments,
    )
    return backend.create_session(request)


def build_session(request: SessionRequest, *, registry: Registry | None = None) -> MelleaSession:
    """Build the session that a request asks for: here and now, with the credentials found here.

    A request pickles: a worker process is sent one, and calls this.

    Args:
        request: What to build.
        registry: Where to look for the backend; None for the shared registry.

    Raises:
        MelleaAPIError: As `start_session` raises.
    """
    return (registry or shared_registry()).backend(request.target.backend).create_session(request)


def session_request(
    backend: str | Backend,
    model_id: Any = None,
    *,
    context: Any = "simple",
    model_options: Mapping[str, Any] | None = None,
    base_url: str | None = None,
    timeout: float | None = None,
    unsupported: Policy | None = None,
    unknown: Unknown = "error",
    run_id: str | None = None,
    session_arguments: Mapping[str, Any] | None = None,
    registry: Registry | None = None,
    **backend_kwargs: Any,
) -> SessionRequest:
    """Return the request that `start_session` makes, to be sent to where the session is built.

    The arguments are those of `start_session`; `build_session` builds it.

    Raises:
        ConfigurationError: If an argument cannot be used.
        BackendNotFoundError: If there is no such backend.
        PluginError: If its plugin is broken.
    """
    arguments = hidden({"base_url": base_url, **backend_kwargs})
    base_url, backend_kwargs = None, {}  # tools draw the variables of a traceback
    from mellea_api._registry.backend import Backend

    if not isinstance(backend, Backend):
        backend = (registry or shared_registry()).backend(backend)
    target, given = target_and_credentials(backend, model_id, arguments)
    return SessionRequest(
        target=target,
        options={} if model_options is None else own(model_options),
        context=context,
        policy=policy_of(unsupported),
        unknown=one_of("unknown", unknown, get_args(Unknown)),
        timeout=seconds(timeout),
        run_id=checked_run_id(run_id),
        session_arguments=session_arguments or {},
        credentials=from_arguments(target, given),
    )


def explain_options(
    backend: str,
    options: Mapping[str, Any],
    model_id: Any = None,
    base_url: str | None = None,
    *,
    server: str | None = None,
    endpoint: Endpoint = "chat",
    unknown: Unknown = "error",
    registry: Registry | None = None,
) -> NormalizedOptions:
    """Say what becomes of options on a backend: without a network, an SDK or Mellea.

    There is one exception: the first question about a route of LiteLLM imports LiteLLM, in a
    process of its own.

    Args:
        backend: The backend's name.
        options: As they would be given to a session or a call.
        model_id: The model; None for the backend's default one.
        base_url: The server; what a model takes may depend on it.
        server: What the server is; None to go by its host's name.
        endpoint: `chat`, or `completion` for the raw endpoint.
        unknown: What to do about options that nobody knows.
        registry: Where to look for the backend; None for the shared registry.

    Raises:
        OptionError: If they could not be sent; lists all problems.
        ConfigurationError: If another argument cannot be used.
        BackendNotFoundError: If there is no such backend.
        PluginError: If its plugin is broken.
    """
    base_url = hide(base_url)
    found = (registry or shared_registry()).backend(backend)
    one_of("endpoint", endpoint, get_args(Endpoint))
    one_of("unknown", unknown, get_args(Unknown))
    target = found.target(model_id, base_url, server=server)
    return found.explain(options, target, endpoint, unknown=unknown)


def list_models(
    backend: str,
    *,
    base_url: str | None = None,
    freshness: Freshness = "cached",
    timeout: float = 10.0,
    registry: Registry | None = None,
    **backend_kwargs: Any,
) -> list[ModelInfo]:
    """List the models of a backend; each says where it comes from.

    Safe to call from any thread, and inside a running event loop, which waits meanwhile.

    Args:
        backend: The backend's name.
        base_url: The server, instead of the environment's or the default one.
        freshness: `cached`: what the provider said within the last hour
            (MELLEA_API_MODELS_LIFETIME), to this process or another one, else it is asked.
            `live`: it is asked. `offline`: nobody is asked; what it last said, however long ago,
            else the catalogue that came with the plugin.
        timeout: Seconds allowed for the answer. A plugin that ignores it is given up 2 s later.
        registry: Where to look for the backend; None for the shared registry.
        backend_kwargs: Credentials by field name, and the backend's other arguments.

    Raises:
        ProviderError: If the provider could not be asked; an empty list means "no models".
        BackendNotFoundError: If there is no such backend.
        PluginError: If its plugin is broken.
        ConfigurationError: If an argument or MELLEA_API_MODELS_LIFETIME cannot be used.
    """
    arguments = hidden({"base_url": base_url, **backend_kwargs})
    base_url, backend_kwargs = None, {}  # tools draw the variables of a traceback
    (found,) = list_all_models(
        [backend],
        freshness=freshness,
        timeout=timeout,
        arguments={backend: arguments},
        registry=registry,
    )
    if found.error is not None:
        raise found.error
    return list(found.models or ())


def list_all_models(
    backends: str | Iterable[str] | None = None,
    *,
    freshness: Freshness = "cached",
    timeout: float = 10.0,
    arguments: Mapping[str, Mapping[str, Any]] | None = None,
    registry: Registry | None = None,
) -> list[ModelListing]:
    """List the models of several backends, which are asked at once.

    A backend that fails or hangs is listed with the reason, and with its last known models.
    Safe to call from any thread, and inside a running event loop.

    Args:
        backends: Their names, or one; None for all that are installed, each once. The system's
            keyring is not asked for the credentials of who was not named.
        freshness: As for `list_models`.
        timeout: Seconds allowed for each answer.
        arguments: By a backend's name, what `list_models` would take for it: `base_url`,
            credentials, and its other arguments.
        registry: Where to look for the backends; None for the shared registry.

    Raises:
        BackendNotFoundError: If there is no backend of a name that was given.
        ConfigurationError: If an argument or MELLEA_API_MODELS_LIFETIME cannot be used.
    """
    arguments = {name: hidden(values) for name, values in (arguments or {}).items()}
    from mellea_api._models import listing  # threads and files, which nothing else needs
    from mellea_api._models.cache import default_cache

    one_of("freshness", freshness, get_args(Freshness))
    allowed = seconds(timeout) or 10.0
    found = registry or shared_registry()
    if backends is not None:
        backends = [backends] if isinstance(backends, str) else list(backends)
    for name in (*(backends or ()), *arguments):
        found.backend(name)
    keyring = backends is not None  # it is asked only for who was named
    if backends is None:
        backends = found.distinct()
    cache = default_cache()

    def question(name: str) -> ModelListing:
        backend = found.backend(name)
        target, given = target_and_credentials(backend, None, arguments.get(name, {}))
        credentials, _ = backend.credentials(target, given, keyring=keyring)
        # What was given and cannot be used stays an argument: it is an error.
        given |= credentials

        def ask(live: bool) -> list[ModelInfo]:
            return backend.list_models(target, given, live=live, timeout=allowed, keyring=keyring)

        return listing.list_one(name, target, credentials, ask, freshness, cache)

    return listing.list_each(list(dict.fromkeys(backends)), question, allowed)


def validate_credentials(
    backend: str,
    model_id: Any = None,
    *,
    base_url: str | None = None,
    probe: bool = False,
    timeout: float = 10.0,
    keyring: bool = True,
    registry: Registry | None = None,
    **backend_kwargs: Any,
) -> CredentialReport:
    """Report whether a backend can be used with the credentials that are there.

    Args:
        backend: The backend's name.
        model_id: The model; None for the default one.
        base_url: The server, instead of the environment's or the default one.
        probe: Try them by one call that costs nothing; else nobody is asked.
        timeout: Seconds allowed for that call.
        keyring: Look in the system's keyring for what is nowhere else.
        registry: Where to look for the backend; None for the shared registry.
        backend_kwargs: Credentials by field name, and the backend's other arguments.

    Raises:
        BackendNotFoundError: If there is no such backend.
        PluginError: If its plugin is broken.
        ConfigurationError: If an argument cannot be used.
    """
    arguments = hidden({"base_url": base_url, **backend_kwargs})
    base_url, backend_kwargs = None, {}  # tools draw the variables of a traceback
    found = (registry or shared_registry()).backend(backend)
    target, given = target_and_credentials(found, model_id, arguments)
    return found.validate_credentials(
        target, given, probe=probe, timeout=seconds(timeout) or 10.0, keyring=keyring
    )
