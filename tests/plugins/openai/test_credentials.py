"""Whether OpenAI, or a server like it, takes a key: what is asked for that, and what each answer means."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from support import faults
from support.openai_server import OpenAIServer
from support.probes import FAULTS, check_fault

pytest.importorskip("mellea_api_openai")

import mellea_api

KEY = "sk-not-for-anybody-0123456789"


def probe(base_url: str, **arguments: Any) -> Any:
    return mellea_api.validate_credentials("openai", base_url=base_url, probe=True, **arguments)


def asked(server: OpenAIServer) -> list[tuple[str, str]]:
    return [(found.method, found.path) for found in server.requests]


def test_a_key_is_tried_by_one_call_that_costs_nothing(openai_server: OpenAIServer) -> None:
    report = probe(openai_server.base_url, api_key="sk-good", server="official")
    assert (report.status, report.checked, report.usable) == ("present", True, True)
    assert openai_server.base_url in report.message
    assert asked(openai_server) == [("GET", "/v1/models")]
    assert openai_server.last.headers["authorization"] == "Bearer sk-good"


def test_without_a_probe_nobody_is_asked(openai_server: OpenAIServer) -> None:
    report = mellea_api.validate_credentials(
        "openai", base_url=openai_server.base_url, api_key="sk-good"
    )
    assert (report.status, report.checked) == ("present", False)
    assert asked(openai_server) == []


@pytest.mark.parametrize("key", [None, "'sk-quoted'", "Bearer sk-good", "${OPENAI_API_KEY}"])
def test_what_is_missing_or_malformed_is_not_tried(
    openai_server: OpenAIServer, key: str | None
) -> None:
    report = probe(openai_server.base_url, api_key=key, server="official")
    assert (report.status, report.checked) == ("missing" if key is None else "malformed", False)
    with pytest.raises(mellea_api.CredentialError) as caught:
        mellea_api.start_session(
            "openai", api_key=key, base_url=openai_server.base_url, server="official"
        )
    assert str(caught.value) == report.message
    assert asked(openai_server) == []


def test_a_bad_key_is_rejected(openai_server: OpenAIServer) -> None:
    report = probe(openai_server.base_url, api_key=KEY, server="official")
    assert (report.status, report.checked, report.usable) == ("rejected", True, False)
    assert "OPENAI_API_KEY" in report.message
    assert report.fields[0].status == "rejected"
    assert KEY not in repr(report)
    assert asked(openai_server) == [("GET", "/v1/models")]


def test_a_compatible_server_is_asked_too_and_may_need_no_key(
    compatible_server: OpenAIServer, openai_server: OpenAIServer
) -> None:
    report = probe(compatible_server.base_url)
    assert (report.status, report.checked) == ("not-needed", True)
    assert asked(compatible_server) == [("GET", "/v1/models")]
    report = probe(openai_server.base_url)  # it wants a key, and was sent none
    assert (report.status, report.checked, report.usable) == ("missing", True, False)


def test_a_key_that_may_not_list_may_still_generate() -> None:
    """As OpenAI answers a restricted key."""
    message = (
        "You have insufficient permissions for this operation. Missing scopes: api.model.read."
    )
    with faults.status(403, {"error": {"message": message, "code": None}}) as server:
        report = probe(server.url, api_key=KEY)
    assert (report.status, report.checked, report.usable) == ("unchecked", False, True)
    assert "may not list models" in report.message


@pytest.mark.parametrize("name", FAULTS)
def test_a_server_that_misbehaves_has_a_status_and_a_reason(name: str) -> None:
    check_fault(name, lambda url, timeout: probe(url, api_key=KEY, timeout=timeout), KEY)


def test_a_key_that_has_expired_is_said_to_have() -> None:
    with faults.status(401, {"error": {"message": "The key has expired."}}) as server:
        report = probe(server.url, api_key=KEY)
    assert (report.status, report.checked, report.usable) == ("expired", True, False)


@pytest.mark.parametrize("name", ["organization", "project"])
def test_what_no_header_can_hold_is_not_sent_in_one(openai_server: OpenAIServer, name: str) -> None:
    """The SDK would fail with a UnicodeEncodeError."""
    given = {"api_key": "sk-good", name: "org\N{EN DASH}1", "base_url": openai_server.base_url}
    report = mellea_api.validate_credentials("openai", probe=True, **given)
    assert report.status == "malformed"
    assert f"the {name} given as an argument" in report.message
    with pytest.raises(mellea_api.CredentialError, match="no HTTP header takes"):
        mellea_api.start_session("openai", **given)
    assert asked(openai_server) == []


@pytest.mark.parametrize(
    ("key", "right"),
    [
        ("sk-proj-0123456789", True),
        ("sk-0123456789", True),
        ("sk-svcacct-0123456789", True),
        ("eyJhbGciOi.eyJzdWIi.c2ln", True),
        ("sk-ant-api03-0123456789", False),
        ("sk-or-v1-0123456789", False),
        ("hf_0123456789", False),
        ("0123456789", False),
    ],
)
def test_openai_itself_is_not_sent_what_is_no_key_of_its_own(key: str, right: bool) -> None:
    report = mellea_api.validate_credentials("openai", api_key=key)
    assert report.status == ("present" if right else "malformed")
    local = mellea_api.validate_credentials("openai", api_key=key, base_url="http://127.0.0.1:1/v1")
    assert local.status == "present"


def test_a_report_without_a_probe_imports_no_sdk() -> None:
    program = (
        "import sys, mellea_api\n"
        "report = mellea_api.validate_credentials('openai', api_key='sk-good')\n"
        "assert report.status == 'present', report\n"
        "print(sorted({'openai', 'mellea', 'httpx', 'asyncio'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
