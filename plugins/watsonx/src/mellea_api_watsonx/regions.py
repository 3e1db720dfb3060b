"""The addresses of watsonx.ai: IBM Cloud's regions, and Cloud Pak for Data.

The SDK takes every address that it does not know for Cloud Pak for Data, and then fails with
words that do not hint at a misspelt region. So the address is checked first.
"""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from mellea_api import ConfigurationError
from mellea_api.plugin import Target

REGIONS: Final = {
    "us-south.ml.cloud.ibm.com": "Dallas",
    "eu-de.ml.cloud.ibm.com": "Frankfurt",
    "eu-gb.ml.cloud.ibm.com": "London",
    "jp-tok.ml.cloud.ibm.com": "Tokyo",
    "au-syd.ml.cloud.ibm.com": "Sydney",
    "ca-tor.ml.cloud.ibm.com": "Toronto",
    "ap-south-1.aws.wxai.ibm.com": "Mumbai, on AWS",
    "us-east-1.aws.wxai.ibm.com": "Virginia, on AWS",
    "wxai.ibmforusgov.com": "AWS GovCloud",
}
"""The host of each region. A test compares them with the SDK's `APIClient.PLATFORM_URLS_MAP`."""

_IBM: Final = (".cloud.ibm.com", ".wxai.ibm.com", ".data.ibm.com", ".ibmforusgov.com")
OFFICIAL_HOSTS: Final = (*(f"*{domain}" for domain in _IBM), "wxai.ibmforusgov.com")
"""IBM's own hosts, as globs; any other host is Cloud Pak for Data."""


def is_cloud(url: str) -> bool:
    """Return whether an address, with or without its scheme, is one of IBM Cloud's.

    >>> is_cloud("https://eu-de.ml.cloud.ibm.com"), is_cloud("https://cpd.example.com")
    (True, False)
    """
    host = urlsplit(url if "//" in url else f"//{url}").hostname or ""
    return any(f".{host}".endswith(domain) for domain in _IBM)


def checked_url(target: Target, also: Iterable[str] = ()) -> str:
    """Return the address to call: `https://`, a region's or Cloud Pak for Data's, no last slash.

    Args:
        target: Its base URL, or else the backend's default one.
        also: Further addresses that the installed SDK knows.

    Raises:
        ConfigurationError: If it is not an address of watsonx.ai; names the regions.
    """
    given = (target.address or "").strip()
    known = {*REGIONS, *(f"private.{host}" for host in REGIONS)}
    known |= {urlsplit(address).hostname or "" for address in also}
    with contextlib.suppress(ValueError):  # of brackets that do not match, or a port
        parts = urlsplit(given.rstrip("/"))
        host, port = parts.hostname or "", parts.port
        more = parts.username or parts.password or parts.query or parts.fragment
        if parts.scheme == "https" and host and not more:
            if not is_cloud(given):
                return f"https://{parts.netloc}{parts.path}".rstrip("/")
            if host in known and not parts.path and port in (None, 443):
                return f"https://{host}"
    variable = target.base_url_source if target.base_url_source.isupper() else None
    first = given.rpartition("//")[2].partition(".")[0].lower()
    hosts = {host.partition(".")[0]: host for host in REGIONS}
    near = difflib.get_close_matches(first, hosts, n=1, cutoff=0.75)
    hint = f"Did you mean https://{hosts[near[0]]}? " if near else ""
    regions = ", ".join(f"https://{host} ({place})" for host, place in REGIONS.items())
    raise ConfigurationError(
        f"Cannot use {variable or 'base_url'}={given!r} for the watsonx backend: it is no "
        "https:// address of watsonx.ai.",
        next_step=f"{hint}Give the region of your project: {regions}; or the https:// address of "
        "your Cloud Pak for Data.",
        variable=variable,
    )
