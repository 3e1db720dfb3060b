"""Whether the key and the project are good: a token, and a look at the project, which are free."""

from __future__ import annotations

from mellea_api import CredentialReport
from mellea_api.plugin import CredentialRequest
from mellea_api_watsonx import sdk

__all__ = ["probe"]


def probe(request: CredentialRequest) -> CredentialReport:
    """Log in, and enter the project, as a session does.

    Raises:
        Exception: Whatever the SDK raises.
    """
    connection = sdk.connect(request.target, request.credentials, request.timeout)
    connection.close()
    return request.accepted(f"{connection.url} takes the key, and has the project.")
