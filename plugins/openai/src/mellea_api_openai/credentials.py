"""Whether the server takes the key: `GET /models`, which is free."""

from __future__ import annotations

import openai

from mellea_api import CredentialReport
from mellea_api._contract.address import shown_address
from mellea_api._provider import refusals as translation
from mellea_api.plugin import CredentialRequest, ModelsRequest
from mellea_api_openai import sdk

__all__ = ["probe"]


def probe(request: CredentialRequest) -> CredentialReport:
    """Ask the server which models it has.

    Raises:
        Exception: Whatever the SDK raises.
    """
    target = request.target

    asking = ModelsRequest(target=target, credentials=request.credentials, timeout=request.timeout)
    try:
        sdk.list_models(asking)
    except openai.PermissionDeniedError as error:
        # A key that is restricted may be let generate, and not list (seen in OpenAI's answer).
        if "api.model.read" not in error.message:
            raise
        return request.unchecked(
            "The key is known, and may not list models; whether it may generate was not tried: "
            f"{translation.said(error.message)}",
        )
    where = shown_address(target.base_url or target.descriptor.default_base_url or "")
    takes = "takes the key" if request.credential("api_key") else "needs no key to list its models"
    return request.accepted(f"The server at {where} {takes}.")
