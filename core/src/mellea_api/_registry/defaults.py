"""The core's own answers to the hooks, for plugins that have none: asked last."""

from __future__ import annotations

from collections.abc import Sequence

from mellea_api._contract.descriptor import ModelInfo
from mellea_api._contract.errors import MelleaAPIError
from mellea_api._contract.refusals import ErrorRequest
from mellea_api._contract.reports import CredentialReport, NormalizedOptions
from mellea_api._contract.requests import (
    CredentialRequest,
    ModelsRequest,
    OptionsRequest,
)
from mellea_api._options.plan import apply_rules
from mellea_api._provider.exceptions import by_kind
from mellea_api.hookspecs import hookimpl


@hookimpl(trylast=True)
def validate_credentials(request: CredentialRequest) -> CredentialReport:
    """Answer from the descriptor's fields alone."""
    from mellea_api._credentials.judge import report_from_fields

    return report_from_fields(request)


@hookimpl(trylast=True)
def list_models(request: ModelsRequest) -> Sequence[ModelInfo]:
    """Answer with the catalogue."""
    return request.target.descriptor.models


@hookimpl(trylast=True)
def normalize_options(request: OptionsRequest) -> NormalizedOptions:
    """Read the target's rules."""
    return apply_rules(request)


@hookimpl(trylast=True)
def translate_error(request: ErrorRequest) -> MelleaAPIError | None:
    """Go by what is common to SDKs."""
    return by_kind(request)
