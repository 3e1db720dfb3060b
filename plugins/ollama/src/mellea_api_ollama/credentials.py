"""Whether the server is there, and takes a key: `GET /api/tags`, which is free."""

from __future__ import annotations

from mellea_api import CredentialReport
from mellea_api._contract.address import shown_address
from mellea_api.plugin import CredentialRequest, ModelsRequest
from mellea_api_ollama import sdk

__all__ = ["probe"]


def probe(request: CredentialRequest) -> CredentialReport:
    """Ask the server which models it has.

    Raises:
        Exception: Whatever the SDK raises.
    """
    target = request.target
    sdk.list_models(
        ModelsRequest(target=target, credentials=request.credentials, timeout=request.timeout)
    )
    where = shown_address(target.base_url or target.descriptor.default_base_url or "")
    takes = " and takes the key" if request.credentials else ""
    return request.accepted(f"The Ollama server at {where} is there{takes}.")
