"""Compatible servers that list no models, or in another way than OpenAI."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from support.table import a_tool

pytest.importorskip("mellea_api_openai")

import mellea_api
from mellea_api.testing import Asked, LoopbackServer, Reply, openai_answer


def listing(reply: Any, one: Any = None) -> LoopbackServer:
    """A good server, but for its list of models and the model itself."""
    missing = Reply(status=404, body={"detail": "Not Found"})

    def answer(asked: Asked) -> Any:
        if asked.path.endswith("/models"):
            return reply
        return (one or missing) if "/models/" in asked.path else openai_answer(asked)

    return LoopbackServer(answer)


@pytest.mark.parametrize("status", [404, 405, 501])
def test_a_server_without_a_list_of_models_can_be_used_and_the_log_says_that_it_was_not_asked(
    caplog: pytest.LogCaptureFixture, status: int
) -> None:
    caplog.set_level(logging.INFO, "mellea_api")
    lacking = Reply(status=status, body={"error": {"message": "there is no such route"}})
    with listing(lacking, lacking) as server:
        session = mellea_api.start_session("openai", "m", base_url=f"{server.address}/v1")
        assert session.chat("?").content
    assert "there is no such route" in caplog.text


@pytest.mark.parametrize("status", [401, 500, 503])
def test_another_refusal_of_the_list_is_an_error(status: int) -> None:
    refused = Reply(status=status, body={"error": {"message": "no"}})
    with listing(refused) as server, pytest.raises(mellea_api.ProviderError) as caught:
        mellea_api.start_session("openai", "m", base_url=f"{server.address}/v1")
    assert caught.value.status == status


@pytest.mark.parametrize(
    "body",
    [
        [{"id": "b"}, {"id": "a"}],
        {"models": [{"name": "a"}, {"model": "b"}]},
        {"data": ["a", "b"]},
        {"object": "list", "data": [{"id": "a", "object": None}, {"id": "b", "created": "now"}]},
    ],
)
def test_names_are_found_in_lists_of_other_shapes(body: Any) -> None:
    with listing(body) as server:
        address = f"{server.address}/v1"
        found = mellea_api.list_models("openai", base_url=address, freshness="live")
        assert [model.id for model in found] == ["a", "b"]
        assert mellea_api.start_session("openai", "a", base_url=address).chat("?").content


def test_a_list_that_is_null_is_empty() -> None:
    with listing({"object": "list", "data": None}) as server:
        address = f"{server.address}/v1"
        assert not mellea_api.list_models("openai", base_url=address, freshness="live")


@pytest.mark.parametrize(
    "body", [{}, {"data": 3}, {"data": [{"id": 3}]}, {"data": [None]}, 4, None]
)
def test_what_lists_no_names_is_an_error(body: Any) -> None:
    with listing(body) as server, pytest.raises(mellea_api.AnswerError, match="list"):
        mellea_api.list_models("openai", base_url=f"{server.address}/v1", freshness="live")


@pytest.mark.parametrize("option", [{"tool_choice": "auto"}, {"parallel_tool_calls": False}])
def test_what_goes_with_tools_alone_is_sent_with_them_and_reported_so(
    option: dict[str, Any],
) -> None:
    (name,) = option
    tools = {"tools": [a_tool()]}
    with LoopbackServer(openai_answer) as server:
        session = mellea_api.start_session("openai", "tiny", base_url=f"{server.address}/v1")

        def sent(options: dict[str, Any], **how: Any) -> Any:
            session.instruct("?", model_options=options, strategy=None, **how)
            report = mellea_api.options_report(session)
            return name in server.asked[-1].body, report is not None and name in report.wire

        assert sent(option) == (False, False)
        assert sent({**option, **tools}, tool_calls=True) == (True, True)
        assert not sent({**option, **tools})[0]  # its tools are not sent either


@pytest.mark.parametrize(
    ("error", "variable"),
    [
        ({"code": "mismatched_organization", "message": "Not of this one."}, "OPENAI_ORG_ID"),
        ({"code": "mismatched_project", "message": "Not of this one."}, "OPENAI_PROJECT"),
        (
            {"code": None, "message": "OpenAI-Organization header should match the key's."},
            "OPENAI_ORG_ID",
        ),
    ],
)
def test_a_wrong_organization_or_project_is_not_blamed_on_the_key(
    error: dict[str, Any], variable: str
) -> None:
    refused = Reply(status=401, body={"error": error})
    who = {"api_key": "sk-0123456789abcdef", "organization": "org-1", "project": "proj-1"}
    with (
        LoopbackServer(lambda _: refused) as server,
        pytest.raises(mellea_api.CredentialError) as caught,
    ):
        mellea_api.start_session("openai", "m", base_url=f"{server.address}/v1", **who)
    assert caught.value.variables is not None
    assert caught.value.variables[0] == variable
    assert variable in str(caught.value)
    assert error["message"][:-1] in str(caught.value)


@pytest.mark.parametrize(
    ("server", "sent"),
    [
        ("vllm", {"reasoning_effort": "low"}),
        ("llama.cpp", {"chat_template_kwargs": {"reasoning_effort": "low"}}),
        ("any", {"reasoning_effort": "low"}),
    ],
)
def test_gpt_oss_is_sent_levels_where_each_server_reads_them(
    server: str, sent: dict[str, Any]
) -> None:
    def wire(value: Any) -> Any:
        options = {"thinking": value}
        address = "http://127.0.0.1:1/v1"
        return mellea_api.explain_options(
            "openai", options, "gpt-oss-20b", base_url=address, server=server
        ).wire

    assert wire("low") == sent
    assert [wire(value) for value in (False, "none", "minimal")] == [{}, {}, {}]
