"""The suite for backends with a server: one that keeps the contract passes, and one that breaks it does not."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mellea")
pytest.importorskip("httpx")

from support.fake_plugins import backend, registry

from mellea_api.testing import Asked, ServerContract, openai_answer

TESTS = sorted(name for name in vars(ServerContract) if name.startswith("test_"))
PLUGIN = """
from mellea_api.plugin import BackendDescriptor, CredentialField, OptionRule, hookimpl
from mellea_api import ModelInfo
from mellea_api._options.shared_rules import TEXT_RULES

@hookimpl
def describe_backend(name):
    return BackendDescriptor(
        name=name,
        summary="a fake",
        default_model="tiny",
        options=(
            OptionRule(name="temperature", chat="heat", maximum=0.4),
            OptionRule(name="max_tokens", chat="limit", completion="limit"),
            OptionRule(name="stop", chat="until"),
            OptionRule(name="mode", chat="mode", choices=("fast", "slow")),
            OptionRule(name="top_logprobs", chat="top_logprobs", requires={"logprobs": (True,)}),
            OptionRule(name="logprobs", chat="logprobs"),
            *TEXT_RULES,
        ),
        models=(ModelInfo(id="tiny", default=True),),
        credentials=(CredentialField(name="api_key"),),
        base_url="http://127.0.0.1:9",
    )

@hookimpl
def list_models(request):
    if not request.live:
        return None
    import contract_server_fake
    return [ModelInfo(id=name, source="live") for name in contract_server_fake.names(request)]

@hookimpl
def create_session(request):
    from mellea import MelleaSession
    import contract_server_fake
    if "tiny" not in contract_server_fake.names(request):
        raise LookupError("no such model")
    return MelleaSession(contract_server_fake.backend_class()("tiny", request))

def client(request):
    import httpx
    from mellea_api._provider.http import careful
    headers = {"Authorization": f"Bearer {request.credential('api_key')}"}
    return careful(httpx.AsyncClient(
        base_url=request.target.base_url, headers=headers, timeout=None, trust_env=False
    ))

def names(request):
    from mellea_api._provider.deadlines import run_with_deadline
    from mellea_api.plugin import reading_answer

    async def ask():
        async with client(request) as http:
            answer = await http.get("/models")
            answer.raise_for_status()
            with reading_answer():
                return [model["id"] for model in answer.json()["data"]]

    return run_with_deadline(ask, request.timeout)

def backend_class():
    from mellea_api.plugin import TextBackend, reading_answer

    class Fake(TextBackend):
        provider = "fake"

        def __init__(self, model_id, request):
            super().__init__(model_id)
            self.request = request
            self.kept = client(request)

        async def generate(self, prompt, options):
            body = {"model": "tiny", "messages": list(prompt.messages), **options}
            async with client(self.request) as http:
                answer = await http.post("/chat/completions", json=body)
                answer.raise_for_status()
                with reading_answer():
                    text = answer.json()["choices"][0]["message"]["content"]
            yield text

    return Fake
"""
BROKEN = {
    # What is changed in the plugin, and to what: which test finds it, and by which words.
    "loses an option": (
        "**options}",
        "**{k: v for k, v in options.items() if k != 'limit'}}",
        "test_what_the_report_says_is_what_is_sent",
        "limit is in the report and was not sent",
    ),
    "renames an option again": (
        "**options}",
        "**{('stop' if k == 'until' else k): v for k, v in options.items()}}",
        "test_what_the_report_says_is_what_is_sent",
        "until is in the report and was not sent",
    ),
    "converts an option twice": (
        "**options}",
        "**{k: (v * 2 if k == 'heat' else v) for k, v in options.items()}}",
        "test_what_the_report_says_is_what_is_sent",
        "the report says heat=0.4, and 0.8 was sent",
    ),
    "adds an option": (
        "**options}",
        "**options, **({'n': 1} if options else {})}",
        "test_what_the_report_says_is_what_is_sent",
        "were sent and are not in the report",
    ),
    "sends a call twice": (
        "                answer = await http.post(",
        (
            "                await http.post('/chat/completions', json=body)\n"
            "                answer = await http.post("
        ),
        "test_what_the_report_says_is_what_is_sent",
        "one call made 2 requests",
    ),
    "tries again": (
        (
            "                answer.raise_for_status()\n                with reading_answer():\n"
            "                    text"
        ),
        (
            "                for _ in range(2):\n"
            "                    if answer.status_code >= 500:\n"
            "                        answer = await http.post('/chat/completions', json=body)\n"
            "                answer.raise_for_status()\n                with reading_answer():\n"
            "                    text"
        ),
        "test_what_a_server_refuses_is_an_error_that_shows_no_secret",
        "HTTP 500: one call was sent 3 times",
    ),
    "raises what nobody knows": (
        (
            "                answer.raise_for_status()\n                with reading_answer():\n"
            "                    text"
        ),
        (
            "                assert answer.status_code == 200\n"
            "                with reading_answer():\n                    text"
        ),
        "test_what_a_server_refuses_is_an_error_that_shows_no_secret",
        "HTTP 401: AnswerError was raised",
    ),
    "logs the key": (
        "        async def generate(self, prompt, options):\n",
        (
            "        async def generate(self, prompt, options):\n"
            "            import logging\n"
            "            logging.getLogger('fake').error(self.request.credential('api_key'))\n"
        ),
        "test_what_a_server_refuses_is_an_error_that_shows_no_secret",
        "a secret is shown: \\[the secret\\]",
    ),
    "takes no text for an empty one": (
        '["message"]["content"]',
        '["message"].get("content") or ""',
        "test_an_answer_of_another_shape_is_complete_and_true_or_an_error",
        "a content that is null, streamed=False: the answer is ''",
    ),
    "takes a web page for an answer": (
        'answer.json()["choices"][0]["message"]["content"]',
        "answer.text",
        "test_what_is_no_answer_is_an_error_that_says_so",
        "nothing was raised",
    ),
    "follows redirects": (
        "    return careful(httpx.AsyncClient(\n        base_url",
        "    return (httpx.AsyncClient(\n        follow_redirects=True, base_url",
        "test_a_redirect_takes_neither_prompt_nor_credentials_along",
        "was asked elsewhere",
    ),
    "hides that nobody listens": (
        '            answer = await http.get("/models")\n',
        (
            "            answer = None\n"
            "            try:\n"
            "                answer = await http.get('/models')\n"
            "            except Exception:\n"
            "                pass\n"
            "            if answer is None:\n"
            "                raise ValueError('no server')\n"
        ),
        "test_a_server_that_is_not_there_is_an_error_that_says_so",
        "PluginError was raised .*, where BackendUnavailableError is due",
    ),
    "waits for ever": (
        "    return run_with_deadline(ask, request.timeout)",
        "    return run_with_deadline(ask, 1.5)",
        "test_a_server_that_is_silent_is_given_up",
        "it took ",
    ),
    "keeps one client for all loops": (
        "            async with client(self.request) as http:\n",
        "            http = self.kept\n            if True:\n",
        "test_a_session_works_in_every_event_loop",
        "[Ee]vent loop",
    ),
    "changes its request": (
        "    import contract_server_fake\n    if",
        "    import contract_server_fake\n    request.target.settings['seen'] = True\n    if",
        "test_what_was_asked_for_is_not_changed",
        "create_session changed its request",
    ),
    "shares one backend": (
        'contract_server_fake.backend_class()("tiny", request))',
        (
            'shared(lambda: contract_server_fake.backend_class()("tiny", request)))\n'
            "kept = []\n"
            "def shared(make):\n"
            "    kept.append(make())\n"
            "    return kept[0]"
        ),
        "test_a_session_that_is_closed_closes_no_other",
        "another session has it",
    ),
}


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    monkeypatch.syspath_prepend(tmp_path)

    def suite(source: str = PLUGIN) -> ServerContract:
        (tmp_path / "contract_server_fake.py").write_text(source, "utf-8")
        importlib.invalidate_caches()

        class Fake(ServerContract):
            backend = "fake"
            path = "/v1"
            patience = 1.0

            def answer(self, asked: Asked) -> Any:
                return openai_answer(asked)

        Fake.registry = registry(backend("fake", "contract_server_fake"))
        return Fake()

    yield suite
    sys.modules.pop("contract_server_fake", None)


@pytest.mark.parametrize("name", TESTS)
def test_a_backend_that_keeps_the_contract_passes(name: str, suite: Callable[[], Any]) -> None:
    getattr(suite(), name)()


@pytest.mark.parametrize("how", BROKEN)
@pytest.mark.filterwarnings("ignore")
def test_one_that_breaks_it_is_found_out(how: str, suite: Callable[[str], Any]) -> None:
    old, new, name, words = BROKEN[how]
    assert PLUGIN.count(old) == 1
    with pytest.raises(Exception, match=words):
        getattr(suite(PLUGIN.replace(old, new)), name)()


def test_every_test_of_the_contract_was_seen_to_fail() -> None:
    assert {name for _, _, name, _ in BROKEN.values()} == {*TESTS}
