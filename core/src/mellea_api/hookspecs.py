"""The contract between the core and its plugins.

A plugin is a module (or object) with functions marked by `hookimpl`; it implements the two
required hooks and those of the others where it knows better than the core's defaults. Each call
reaches one backend's plugin only. Hooks report; the core alone raises.

    from mellea_api.plugin import BackendDescriptor, hookimpl

    @hookimpl
    def describe_backend(name):
        return BackendDescriptor(name=name, summary="…", default_model="…")

    @hookimpl
    def create_session(request):
        from mellea import MelleaSession
        return MelleaSession(SomeBackend(request.target.model_id))
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pluggy

from mellea_api._contract.descriptor import (
    BackendDescriptor,
    CredentialField,
    ModelInfo,
    OptionRule,
)
from mellea_api._contract.errors import MelleaAPIError
from mellea_api._contract.reports import CredentialReport, NormalizedOptions, OptionPatch
from mellea_api._contract.requests import (
    CredentialFieldsRequest,
    CredentialQuery,
    CredentialRequest,
    ErrorRequest,
    ModelsRequest,
    OptionsRequest,
    RulesRequest,
    SessionRequest,
)
from mellea_api._secrecy.secrets import Secret

if TYPE_CHECKING:
    from mellea import MelleaSession

__all__ = ["hookimpl", "hookspec"]

hookspec = pluggy.HookspecMarker("mellea_api")
hookimpl = pluggy.HookimplMarker("mellea_api")
"""Marks a function of a plugin as the implementation of the hook of that name."""


@hookspec(firstresult=True)
def describe_backend(name: str) -> BackendDescriptor:  # type: ignore[empty-body]
    """Describe the backend: required.

    Args:
        name: The name under which the backend was found, that of its entry point.

    Returns:
        The description. It must not touch the network, nor import Mellea or an SDK.
    """


@hookspec(firstresult=True)
def create_session(request: SessionRequest) -> MelleaSession:
    """Create a session: required.

    Build Mellea's backend without model options, and a `MelleaSession` around it; options,
    context, timeout and errors are the core's work. A server or model that is not there should
    fail here and not at the first prompt.

    Args:
        request: What to build, with its credentials resolved.

    Returns:
        The session.
    """


@hookspec(firstresult=True)
def credential_fields(request: CredentialFieldsRequest) -> Sequence[CredentialField] | None:
    """Say which credentials are needed, where that depends on the model or the server.

    Without it, or where it returns None, they are those of the descriptor.

    Args:
        request: The model and the server. It must not touch the network, nor import an SDK.

    Returns:
        The fields. One that is secret must be among the descriptor's, by its name: only then is
        it known to be a secret where it is given as an argument.
    """


@hookspec(firstresult=True)
def validate_credentials(request: CredentialRequest) -> CredentialReport | None:
    """Say whether the credentials will do.

    Without it, or where it returns None, the core answers from the descriptor's fields.

    Args:
        request: The credentials that were found. Only with `request.probe` may the network be
            used, for one call that costs nothing. Raise what the SDK raises: the core makes a
            status of it.
    """


@hookspec(firstresult=True)
def list_models(request: ModelsRequest) -> Sequence[ModelInfo] | None:
    """List the models that can be asked for.

    Without it, or where it returns None, the core answers with the catalogue.

    Args:
        request: The server and credentials to ask with. Raise what the SDK raises: the core
            turns it into the error that people see.
    """


@hookspec(firstresult=True)
def option_rules(request: RulesRequest) -> Sequence[OptionRule] | None:
    """Say which option rules hold for a target, where no one list holds for all of them.

    Without it, or where it returns None, the descriptor's rules hold, with the conditions that
    each of them names. It is asked for each target, and again once a session was created, in case
    the plugin has then learnt from the installed SDK what it takes.

    Args:
        request: The target. It must not touch the network, nor import an SDK. Return the same
            tuple for the same rules: what is compiled of it is then kept.
    """


@hookspec(firstresult=True)
def normalize_options(request: OptionsRequest) -> NormalizedOptions | None:
    """Say options in the backend's terms.

    Without it, or where it returns None, the core reads the target's rules. Write it only
    for what rules cannot say, best on top of `mellea_api._options.plan.apply_rules(request)`.

    Args:
        request: Canonical options. It must not touch the network, nor import an SDK.
    """


@hookspec
def review_options(request: OptionsRequest) -> Sequence[OptionPatch] | None:
    """Change or forbid options before they are checked: for extensions.

    Args:
        request: Canonical options, before this extension's patches.

    Returns:
        The patches. Each has a reason and is in the report.
    """


@hookspec(firstresult=True)
def find_credential(request: CredentialQuery) -> Secret | None:
    """Find a credential, such as in a vault: for extensions.

    It is asked after the arguments, the environment and the files that it names.

    Args:
        request: The field that is asked for.
    """


@hookspec(firstresult=True)
def translate_error(request: ErrorRequest) -> MelleaAPIError | None:
    """Say an SDK's exception in this library's terms.

    Where it returns None, the core goes by what is common to SDKs: HTTP status, connection and
    timeout errors.

    Args:
        request: The exception, and what was being done.
    """
