"""The address: a region's, Cloud Pak for Data's, or an error that names the regions."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

pytest.importorskip("mellea_api_watsonx", reason="mellea-api-watsonx is not installed")
pytest.importorskip("ibm_watsonx_ai", reason="the watsonx.ai SDK is not installed")

from ibm_watsonx_ai import APIClient

from mellea_api._contract.errors import ConfigurationError
from mellea_api._contract.requests import Target
from mellea_api_watsonx import WATSONX
from mellea_api_watsonx.regions import REGIONS, checked_url, is_cloud

DESCRIPTOR = WATSONX
NOT_FOR_USERS = (".test.", "yp-", "-qa.", "dev.", "prep.", "test.aws")


def target(url: str | None, source: str = "argument") -> Target:
    return Target(descriptor=DESCRIPTOR, model_id="m", base_url=url, base_url_source=source)


def test_the_regions_are_those_of_the_sdk() -> None:
    hosts = {urlsplit(url).hostname or "" for url in APIClient.PLATFORM_URLS_MAP}
    public = {
        host
        for host in hosts
        if not host.startswith("private.") and not any(part in host for part in NOT_FOR_USERS)
    }
    assert public == set(REGIONS), (
        "The SDK knows other regions: say so in mellea_api_watsonx/regions.py."
    )


@pytest.mark.parametrize("host", REGIONS)
def test_every_region_is_accepted_and_official(host: str) -> None:
    for url in (f"https://{host}", f"https://{host}/", f" https://{host}:443 "):
        assert checked_url(target(url)) == f"https://{host}"
    assert is_cloud(f"https://{host}")
    assert target(f"https://{host}").server == "official"


def test_dallas_is_the_default() -> None:
    assert checked_url(target(None)) == "https://us-south.ml.cloud.ibm.com"


@pytest.mark.parametrize(
    ("given_url", "meant"),
    [
        ("https://us-sout.ml.cloud.ibm.com", "https://us-south.ml.cloud.ibm.com"),
        ("eu-de", "https://eu-de.ml.cloud.ibm.com"),
        ("eu-gb.ml.cloud.ibm.com", "https://eu-gb.ml.cloud.ibm.com"),
        ("http://jp-tok.ml.cloud.ibm.com", "https://jp-tok.ml.cloud.ibm.com"),
        ("https://ca-tor.ml.cloud.ibm.com/ml/v1", "https://ca-tor.ml.cloud.ibm.com"),
        ("https://au-syd.ml.cloud.ibm.com:8443", "https://au-syd.ml.cloud.ibm.com"),
        ("https://us-south.cloud.ibm.com", "https://us-south.ml.cloud.ibm.com"),
    ],
)
def test_a_wrong_address_is_explained_with_the_one_that_was_meant(
    given_url: str, meant: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        checked_url(target(given_url))
    assert f"Did you mean {meant}?" in str(caught.value)
    assert all(host in str(caught.value) for host in REGIONS)
    assert "Cloud Pak for Data" in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "https://cloud.ibm.com",
        "https://api.dataplatform.cloud.ibm.com",
        "https://us-east.ml.cloud.ibm.com",
        "ftp://cpd.example.com",
        "https://user:pass@cpd.example.com",
        "https://cpd.example.com/?version=5",
        "https://[::1",
        "https://cpd.example.com:99999",
        "https://",
        "nonsense",
    ],
)
def test_what_is_no_address_of_watsonx_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="Give the region of your project"):
        checked_url(target(url))


@pytest.mark.parametrize("host", ["api.dataplatform.cloud.ibm.com", "paris.ml.cloud.ibm.com"])
def test_what_is_like_no_region_is_not_said_to_be_meant_for_one(host: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        checked_url(target(f"https://{host}"))
    assert "Did you mean" not in str(caught.value)


def test_the_error_names_the_variable_that_the_address_came_from() -> None:
    with pytest.raises(ConfigurationError, match="Cannot use WATSONX_URL='eu-de'") as caught:
        checked_url(target("eu-de", "WATSONX_URL"))
    assert caught.value.variable == "WATSONX_URL"


def test_cloud_pak_for_data_is_any_other_host() -> None:
    for url in ("https://cpd.example.com", "https://127.0.0.1:8443", "https://cpd.example.com/zen"):
        assert checked_url(target(f"{url}/")) == url
        assert not is_cloud(url)
        assert target(url).server == "compatible"


def test_a_region_that_only_a_newer_sdk_knows_is_accepted() -> None:
    url = "https://mars-1.ml.cloud.ibm.com"
    with pytest.raises(ConfigurationError):
        checked_url(target(url))
    assert checked_url(target(url), [url]) == url


@given(st.text(max_size=40) | st.from_regex(r"https?://[\w.\[\]:@/?#-]{0,30}"))
@example("https://.cloud.ibm.com")
@example("//")
@example("HTTPS://cpd.example.com")
def test_any_text_is_an_https_address_or_a_configuration_error(text: str) -> None:
    try:
        found = checked_url(target(text or None))
    except ConfigurationError as error:
        assert "us-south.ml.cloud.ibm.com" in str(error)  # noqa: PT017
    else:
        assert found.startswith("https://")
        assert not found.endswith("/")
