"""A real LiteLLM proxy: a good key, a bad key, an unknown model, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
from support.litellm_proxy import ANSWER, KEY, MODELS, LiteLLMProxy

pytest.importorskip("mellea_api_litellm")

import mellea_api
from mellea_api import stream_chat

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("sdk")]

BAD = "sk-proxy-bad-canary-77d1f0"


def start(proxy: LiteLLMProxy, model: str = "mocked", **arguments: Any) -> Any:
    given = {"api_key": KEY, "max_retries": 0} | arguments
    return mellea_api.start_session(
        "litellm", f"litellm_proxy/{model}", base_url=proxy.base_url, **given
    )


def test_a_good_key_gets_an_answer(proxy: LiteLLMProxy) -> None:
    session = start(proxy, model_options={"temperature": 0.5, "max_tokens": 20})
    assert session.chat("Hello!").content == ANSWER
    assert "".join(stream_chat(session, "Hello!")) == ANSWER


def test_the_openai_route_leads_there_as_well(proxy: LiteLLMProxy) -> None:
    session = mellea_api.start_session(
        "litellm", "openai/other", base_url=f"{proxy.base_url}/v1", api_key=KEY
    )
    assert session.chat("Hello!").content == "Another."


@pytest.mark.parametrize("way", ["session", "chat", "stream", "models"])
def test_a_bad_key_is_a_credential_error_that_does_not_show_it(
    proxy: LiteLLMProxy, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    def attempt() -> Any:
        if way == "session":
            return start(proxy, api_key=BAD)
        if way == "models":
            return mellea_api.list_models(
                "litellm", base_url=proxy.base_url, api_key=BAD, provider="litellm_proxy"
            )
        session = start(proxy, api_key=BAD, check=False)
        if way == "stream":
            return list(stream_chat(session, "Hello!"))
        return session.chat("Hello!")

    with pytest.raises(mellea_api.CredentialError) as caught:
        attempt()
    assert (caught.value.status, caught.value.field) == (401, "api_key")
    assert "LITELLM_PROXY_API_KEY" in caught.value.next_step
    assert BAD not in str(caught.value)
    assert BAD not in caplog.text


def test_an_unknown_model_is_found_out_at_once(proxy: LiteLLMProxy) -> None:
    with pytest.raises(mellea_api.ModelNotFoundError, match="mocked") as caught:
        start(proxy, "mockt")
    assert caught.value.known is not None
    assert set(caught.value.known) == set(MODELS)


def test_unchecked_it_is_found_out_by_the_first_call(proxy: LiteLLMProxy) -> None:
    session = start(proxy, "nix", check=False)
    with pytest.raises(mellea_api.ModelNotFoundError, match="nix"):
        session.chat("Hello!")


@pytest.mark.parametrize(
    ("model", "error"),
    [("limited", mellea_api.RateLimitError), ("full", mellea_api.ContextLengthError)],
)
def test_what_it_refuses_is_told_apart(
    proxy: LiteLLMProxy, model: str, error: type[Exception]
) -> None:
    session = start(proxy, model)
    with pytest.raises(error):
        session.chat("Hello!")


def test_its_models_are_listed_as_routes(proxy: LiteLLMProxy) -> None:
    models = mellea_api.list_models(
        "litellm", base_url=proxy.base_url, api_key=KEY, provider="litellm_proxy"
    )
    assert {model.id for model in models} == {f"litellm_proxy/{name}" for name in MODELS}
    assert {model.source for model in models} == {"live"}


@pytest.mark.parametrize(("key", "status"), [(KEY, "present"), (BAD, "rejected")])
def test_a_probe_asks_it(proxy: LiteLLMProxy, key: str, status: str) -> None:
    report = mellea_api.validate_credentials(
        "litellm", "litellm_proxy/mocked", base_url=proxy.base_url, api_key=key, probe=True
    )
    assert report.status == status
    assert key not in repr(report)
