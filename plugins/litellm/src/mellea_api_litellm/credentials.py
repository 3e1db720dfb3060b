"""Whether what a route needs is there, and taken: by a question that is free, if one is known.

A server of OpenAI's protocol is asked for its models, Ollama too, and IBM Cloud for a token.
"""

from __future__ import annotations

import os
from typing import Any, Final
from urllib.parse import urlsplit

from attrs import evolve

from mellea_api import CredentialFinding, CredentialReport, PermissionDeniedError, Secret
from mellea_api._contract.address import shown_address
from mellea_api._contract.reports import CredentialStatus
from mellea_api._credentials.judge import report_from_fields
from mellea_api._provider.authoring import UnreadableAnswerError, run_with_deadline
from mellea_api.plugin import CredentialRequest
from mellea_api_litellm.check import Access, access, ask, can_ask, missing, no_route, refused
from mellea_api_litellm.needs import NO_KEYS, Finding, needs_of, variable_of
from mellea_api_litellm.routes import find

__all__ = ["report"]

_IAM: Final = "https://iam.cloud.ibm.com/identity/token"
_IBM: Final = (".cloud.ibm.com", ".wxai.ibm.com")


def report(request: CredentialRequest) -> CredentialReport:
    """Report on the credentials of a route.

    Raises:
        ProviderError: If a server was asked, and refused or is not there.
    """
    target = request.target
    route = find(target.model_id)
    if route is None:
        return request.unchecked(str(no_route(target)))
    reached = access(target, route, request.credentials)
    if reached.found is None:
        why = f"What {route.provider} needs is not known; LiteLLM finds it, or says so when called."
        return request.unchecked(why)
    request = evolve(request, findings=_findings(request, reached.found))
    if any(found.status == "malformed" for found in request.findings):
        return report_from_fields(request)
    if reached.lacking and "mock_response" not in target.settings:
        return evolve(request.unchecked(str(missing(target, reached))), status="missing")
    if request.probe:
        return _tried(request, reached)
    needs = needs_of(route)
    there = any(found.secret is not None for found in reached.found)
    if needs is not None and needs.elsewhere and not there:
        return request.unchecked(f"Nothing is in the environment, but {needs.elsewhere}.")
    status = _there(reached)
    said = f"All that {route.provider} needs is there; it was not tried."
    if status == "not-needed":
        said = f"{route.provider} needs no credentials."
    return evolve(request.unchecked(said), status=status)


def _there(reached: Access) -> CredentialStatus:
    """Return what is to be said where nothing lacks: an address alone is no credential."""
    required = any(found.need.required for found in reached.found or ())
    return "present" if required or reached.key is not None else "not-needed"


def _findings(request: CredentialRequest, found: list[Finding]) -> list[CredentialFinding]:
    """Return what is said of each thing that a route needs: of the key, what the core says."""
    (key,) = request.findings
    shown = [key] if all(one.need.kind != "api_key" for one in found) and key.source else []
    for one in found:
        if one.need.kind != "api_key":
            shown.append(_finding(one))
        elif one.lacks and key.status == "not-needed":
            shown.append(evolve(key, status="missing"))
        else:
            shown.append(key)
    return shown


def _finding(found: Finding) -> CredentialFinding:
    name = found.need.variables[0] if found.need.kind == "other" else found.need.kind
    if found.secret is None:
        status: Any = "missing" if found.need.required else "not-needed"
        return CredentialFinding(name=name, status=status)
    return CredentialFinding(
        name=name, status="present", source=found.secret.source, shadowed=found.shadowed
    )


def _tried(request: CredentialRequest, reached: Access) -> CredentialReport:
    """Ask whom there is to ask."""
    provider = reached.route.provider
    if provider in ("watsonx", "watsonx_text") and reached.key is not None:
        return _ibm(request, reached, reached.key)
    if not can_ask(reached.route) or not reached.address:
        return request.unchecked(
            f"All that can be seen of what {provider} needs is there; it was not tried, since no "
            f"question to {provider} is known that costs nothing.",
        )
    try:
        ask(request.target, reached, request.timeout)
    except PermissionDeniedError as error:
        # A key of OpenAI's that is restricted may be let generate, and not list.
        if "api.model.read" not in error.reason:
            raise
        return request.unchecked(f"The key is known, and may not list models: {error.reason}")
    takes = "takes the key" if reached.key is not None else "needs no key to list its models"
    said = f"The server at {shown_address(reached.address)} {takes}."
    return evolve(request.accepted(said), status=_there(reached))


def _ibm(request: CredentialRequest, reached: Access, key: Secret) -> CredentialReport:
    """Ask IBM Cloud for a token."""
    host = urlsplit(reached.address or "").hostname or ""
    if not host.endswith(_IBM) or variable_of(key) in NO_KEYS:
        why = "It was not tried: only a key for IBM Cloud can be, by asking for a token."
        return request.unchecked(why)
    url = os.environ.get("WATSONX_IAM_URL", "").strip() or _IAM
    form = {"grant_type": "urn:ibm:params:oauth:grant-type:apikey", "apikey": key.reveal()}

    async def ask_for_a_token() -> tuple[int, Any, str]:
        import httpx

        async with httpx.AsyncClient() as client:
            answer = await client.post(url, data=form)
        try:
            return answer.status_code, answer.json(), answer.text
        except ValueError:
            return answer.status_code, None, answer.text

    status, said, text = run_with_deadline(ask_for_a_token, request.timeout)
    if status >= 400:
        # It says 400 of a key that it does not know.
        unknown = isinstance(said, dict) and said.get("errorCode") == "BXNIM0415E"
        raise refused(request.target, reached, 401 if unknown else status, text)
    if not isinstance(said, dict) or not isinstance(said.get("access_token"), str):
        raise UnreadableAnswerError("IBM Cloud gave no token")
    return request.accepted("IBM Cloud takes the key; whether it has the project was not asked.")
