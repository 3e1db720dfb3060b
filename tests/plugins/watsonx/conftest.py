"""A loopback watsonx.ai for every test that asks for one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.tunnel import Authority
from support.watsonx_server import WatsonxServer


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A certificate authority of the tests' own."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def watsonx(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Iterator[WatsonxServer]:
    """A loopback watsonx.ai, which all of IBM's addresses lead to, and any other one."""
    with WatsonxServer(authority) as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        yield server
