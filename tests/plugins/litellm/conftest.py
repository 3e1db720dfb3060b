"""What tests of the LiteLLM backend share: the installed LiteLLM, a proxy, and a clean slate."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import litellm_proxy
from support.litellm_proxy import LiteLLMProxy
from support.tunnel import Authority
from support.watsonx_server import PROJECT, WatsonxServer

# Mellea 0.6 imports LiteLLM wherever that is installed, and a test file may import Mellea.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

FOREIGN = (
    # LiteLLM's own classes, under a newer pydantic than they were written for.
    "ignore:Items? .* on TypedDict class:UserWarning",
    "ignore:Accessing the 'model_(computed_)?fields' attribute:DeprecationWarning",
    # LiteLLM prepares a call in a thread, which returns a coroutine. If the call is cancelled before
    # that, nobody gets the coroutine: `run_in_executor` of a task that is gone drops it.
    r"ignore:coroutine '(BaseLLMHTTPHandler|(OpenAI|Azure)ChatCompletion)\.\w+' was:RuntimeWarning",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let warnings pass that are LiteLLM's own affair."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            for warning in FOREIGN:
                item.add_marker(pytest.mark.filterwarnings(warning))


@pytest.fixture(scope="session", autouse=True)
def litellm_is_imported() -> None:
    """Where LiteLLM is installed, routes are asked for in this process: a process for each takes long."""
    if importlib.util.find_spec("litellm") is not None:
        importlib.import_module("litellm")


@pytest.hookimpl(tryfirst=True)
def pytest_unconfigure() -> None:
    """The same for what is found after the last test, when pytest collects what was left."""
    warnings.filterwarnings("ignore", "Unclosed c.* <aiohttp", ResourceWarning)


@pytest.fixture(scope="session")
def sdk() -> Any:
    """The plugin's module that imports LiteLLM; skips where LiteLLM is not installed."""
    if importlib.util.find_spec("litellm") is None:
        pytest.skip("LiteLLM is not installed (pip install 'mellea[litellm]')")
    found = importlib.import_module("mellea_api_litellm.session")
    # This says where the tokenizers of LiteLLM's package are, by a variable that is set once: were
    # it first imported in a test, its end would unset that, and tiktoken ask the network.
    importlib.import_module("litellm.litellm_core_utils.default_encoding")
    return found


@pytest.fixture(autouse=True)
def loud(caplog: pytest.LogCaptureFixture) -> None:
    """LiteLLM's own messages are in the captured log, too."""
    for name in ("LiteLLM", "mellea_api"):
        logging.getLogger(name).propagate = True


@pytest.fixture(scope="session")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiteLLMProxy]:
    """A real LiteLLM proxy; skips, with the reason, where it cannot be started."""
    if reason := litellm_proxy.available():
        pytest.skip(f"the LiteLLM proxy is not available: {reason}")
    with LiteLLMProxy(tmp_path_factory.mktemp("proxy")) as started:
        yield started


@pytest.fixture(scope="session")
def ibm_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WatsonxServer]:
    """IBM's cloud on loopback."""
    pytest.importorskip("trustme", reason="the loopback watsonx.ai needs trustme")
    with WatsonxServer(Authority(tmp_path_factory.mktemp("authority"))) as server:
        # What LiteLLM sends beside, and the real one lets pass.
        server.more = frozenset({"model", "stream", "moderations"})
        yield server


@pytest.fixture
def watsonx(ibm_cloud: WatsonxServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[WatsonxServer]:
    """IBM's cloud; LiteLLM finds it by the proxy, and trusts the tests' authority."""
    import litellm
    from litellm.llms.watsonx import common_utils

    for name, value in ibm_cloud.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SSL_CERT_FILE", str(ibm_cloud.authority.path))
    monkeypatch.setenv("WATSONX_PROJECT_ID", PROJECT)
    monkeypatch.setattr(litellm, "disable_aiohttp_transport", True)
    # The clients that LiteLLM has kept trust others.
    monkeypatch.setattr(litellm, "module_level_client", litellm.HTTPHandler(timeout=10))
    monkeypatch.setattr(litellm, "module_level_aclient", litellm.AsyncHTTPHandler(timeout=10))
    litellm.in_memory_llm_clients_cache.flush_cache()
    common_utils.iam_token_cache.flush_cache()
    ibm_cloud.clear()
    yield ibm_cloud
    ibm_cloud.answers.clear()
    litellm.in_memory_llm_clients_cache.flush_cache()
