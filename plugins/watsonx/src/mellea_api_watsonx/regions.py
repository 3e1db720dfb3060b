"""The addresses of watsonx.ai: IBM Cloud's regions, and Cloud Pak for Data.

The SDK takes every address that it does not know for Cloud Pak for Data, and then fails with
words that do not hint at a misspelt region. So the address is checked first.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Final, NoReturn
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
    return _belongs_to_ibm(urlsplit(url if "//" in url else f"//{url}").hostname or "")


def _belongs_to_ibm(host: str) -> bool:
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
    url = given.rstrip("/")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        _refuse(target, given, f"it is not an address ({error})")
    if not parts.scheme or not host:
        _refuse(target, given, "it does not begin with https://", _nearest(given))
    if parts.username or parts.password or parts.query or parts.fragment:
        _refuse(target, given, "it contains more than the address of a server")
    if parts.scheme != "https":
        _refuse(target, given, "the SDK takes only https://", f"https://{parts.netloc}")
    if not _belongs_to_ibm(host):
        return f"https://{parts.netloc}{parts.path}".rstrip("/")
    known = {*REGIONS, *(f"private.{name}" for name in REGIONS)}
    known |= {urlsplit(address).hostname or "" for address in also}
    if host not in known:
        _refuse(target, given, f"{host} is not a region of watsonx.ai", _nearest(host))
    if parts.path or port not in (None, 443):
        _refuse(target, given, "a region's address ends with the host", f"https://{host}")
    return f"https://{host}"


def _nearest(given: str) -> str:
    """Return the address of the region with nearly that name, or an empty text."""
    first = given.rpartition("//")[2].partition(".")[0].lower()
    hosts = {host.partition(".")[0]: host for host in REGIONS}
    near = difflib.get_close_matches(first, hosts, n=1, cutoff=0.75)
    return f"https://{hosts[near[0]]}" if near else ""


def _refuse(target: Target, given: str, why: str, meant: str = "") -> NoReturn:
    source = target.base_url_source
    variable = source if source.isupper() else None
    regions = ", ".join(f"https://{host} ({place})" for host, place in REGIONS.items())
    hint = f"Did you mean {meant}? " if meant else ""
    raise ConfigurationError(
        f"Cannot use {variable or 'base_url'}={given!r} for the {target.backend} backend: {why}.",
        next_step=f"{hint}Give the region of your project: {regions}; or the https:// address of "
        "your Cloud Pak for Data.",
        backend=target.backend,
        variable=variable,
    )
