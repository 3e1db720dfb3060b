"""The contract between the core and its plugins.

A backend is a `BackendDescriptor` in a light module, which the entry point names. Its
`implementation` names the module with the hooks that need Mellea or an SDK; the core imports that
module when it first needs one of them. `describe_backend` and `normalize_options` need no SDK:
write them in the light module, which the entry point then names instead of the descriptor. Each
call reaches one backend's plugin only. Hooks report and raise; the core writes what people read.

    ECHO = BackendDescriptor(
        name="echo",
        summary="Says what it is told",
        default_model="parrot",
        implementation="mellea_api_echo.session",
    )

An implementation names those of the arguments that it needs. `create_session`, `list_models` and
`validate_credentials` may be `async def`: the core runs them in a thread and an event loop of
their own, and gives up after the request's `timeout`, or after 30 s if it has none. A plain `def`
is called as it is, without a limit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pluggy

from mellea_api._contract.descriptor import BackendDescriptor, ModelInfo
from mellea_api._contract.errors import MelleaAPIError
from mellea_api._contract.refusals import ErrorRequest
from mellea_api._contract.reports import CredentialReport, NormalizedOptions, OptionPatch
from mellea_api._contract.requests import (
    CredentialQuery,
    CredentialRequest,
    ModelsRequest,
    OptionsRequest,
    SessionRequest,
    Target,
)
from mellea_api._secrecy.secrets import Secret

if TYPE_CHECKING:
    from mellea import MelleaSession

__all__ = ["hookimpl", "hookspec"]

hookspec = pluggy.HookspecMarker("mellea_api")
hookimpl = pluggy.HookimplMarker("mellea_api")
"""Marks a function of a plugin as the implementation of the hook of that name."""

# --- for backends ------------------------------------------------------------------------------


@hookspec(firstresult=True)
def describe_backend(  # type: ignore[empty-body]
    name: str, target: Target | None
) -> BackendDescriptor:
    """Describe the backend; a constant `BackendDescriptor` as the plugin does it by itself.

    It must not touch the network, nor import Mellea or an SDK.

    Args:
        name: The name of the entry point.
        target: None for the backend as a whole, else one model on one server: return
            `evolve(target.descriptor, ...)` with other `options`, `credentials` or `models` if
            they depend on it. Return the same tuple for the same rules: compiled rules are
            reused. It is asked again once a session was created.
    """


@hookspec(firstresult=True)
def create_session(request: SessionRequest) -> MelleaSession:
    """Create a session: required. If a server or model is missing, fail here.

    Build Mellea's backend without model options: `request.build(SomeBackend)`. Options, context,
    deadline and errors are the core's work.

    Args:
        request: What to build, with its credentials.
    """


@hookspec(firstresult=True)
def validate_credentials(request: CredentialRequest) -> CredentialReport | None:
    """Say whether the credentials work.

    Without it, or if it returns None, the core answers from the descriptor's fields.

    Args:
        request: The credentials. A hook in the light module is also asked without
            `request.probe`, and may then not use the network. A probe must cost nothing. Raise
            what the SDK raises: the core makes a status of it.
    """


@hookspec(firstresult=True)
def list_models(request: ModelsRequest) -> Sequence[ModelInfo] | None:
    """List the models.

    Without it, or if it returns None, the catalogue answers.

    Args:
        request: The server and the credentials. A hook in the light module is also asked
            without `request.live`, and may then not use the network. Raise what the SDK raises.
    """


@hookspec(firstresult=True)
def normalize_options(request: OptionsRequest) -> NormalizedOptions | None:
    """Change what the rules made of the options: `request.rendered`.

    Write it only for what rules cannot say. Without it, or if it returns None, the rules decide.

    Args:
        request: Canonical options. It must not touch the network, nor import an SDK.
    """


# --- for backends and extensions ---------------------------------------------------------------


@hookspec(firstresult=True)
def translate_error(request: ErrorRequest) -> MelleaAPIError | None:
    """Turn an SDK's exception into one of ours.

    If it returns None, the core goes by HTTP status, and by the exceptions that all SDKs share.

    Args:
        request: The exception, and what was being done.
    """


# --- for extensions ----------------------------------------------------------------------------


@hookspec
def review_options(request: OptionsRequest) -> Sequence[OptionPatch] | None:
    """Change or forbid options before they are checked.

    Args:
        request: Canonical options, before this extension's patches.

    Returns:
        The patches. Each has a reason, which is in the report.
    """


@hookspec(firstresult=True)
def find_credential(request: CredentialQuery) -> Secret | None:
    """Find a credential, for example in a vault.

    It is asked after the arguments, the environment and the files that it names.

    Args:
        request: The field.
    """
