"""The tiny model is real: what a user asks of it has effects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import openai
import pytest
from support.engine import EngineError, forward, limit_text, sample_json
from support.llamacpp import LlamaCppServer, available
from support.tiny_model import build_gguf

QUESTION = [{"role": "user", "content": "What is 2+2?"}]


def ask(server: LlamaCppServer, **options: Any) -> tuple[str, str, int]:
    answer = forward(server, "/chat/completions", {"messages": QUESTION, **options})
    choice = answer["choices"][0]
    return (
        choice["message"]["content"],
        choice["finish_reason"],
        answer["usage"]["completion_tokens"],
    )


def test_the_model_is_the_same_every_time(tiny_gguf: Path, tmp_path: Path) -> None:
    assert build_gguf(tmp_path / "again.gguf").read_bytes() == tiny_gguf.read_bytes()
    assert build_gguf(tmp_path / "other.gguf", seed=1).read_bytes() != tiny_gguf.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.gguf", "other.gguf"]


def test_a_limit_is_kept(llamacpp: LlamaCppServer) -> None:
    assert ask(llamacpp, max_tokens=7, temperature=0)[1:] == ("length", 7)
    assert ask(llamacpp, max_completion_tokens=3, temperature=0)[1:] == ("length", 3)


def test_a_stop_sequence_ends_the_text_and_is_not_in_it(llamacpp: LlamaCppServer) -> None:
    text, _, _ = ask(llamacpp, max_tokens=20, temperature=0)
    stop = text[len(text) // 2 :][:4]
    assert ask(llamacpp, max_tokens=20, temperature=0, stop=[stop])[:2] == (
        text[: text.index(stop)],
        "stop",
    )


def test_sampling_options_have_effects(llamacpp: LlamaCppServer) -> None:
    greedy = ask(llamacpp, max_tokens=20, temperature=0)
    hot = {"max_tokens": 20, "temperature": 1.5, "seed": 1}
    assert ask(llamacpp, **hot) != greedy
    assert ask(llamacpp, **hot, top_k=1) == greedy
    assert ask(llamacpp, **hot, min_p=1.0) == greedy
    assert ask(llamacpp, **hot, top_p=0.0001) == greedy
    assert ask(llamacpp, **hot) == ask(llamacpp, **hot)
    assert ask(llamacpp, **hot) != ask(llamacpp, **hot | {"seed": 2})


@pytest.mark.parametrize(
    "option", [{"repeat_penalty": 3.0}, {"frequency_penalty": 2.0}, {"presence_penalty": 2.0}]
)
def test_penalties_have_effects(llamacpp: LlamaCppServer, option: dict[str, float]) -> None:
    assert ask(llamacpp, max_tokens=60, temperature=0, **option) != ask(
        llamacpp, max_tokens=60, temperature=0
    )


def test_the_text_is_printable_ascii(llamacpp: LlamaCppServer) -> None:
    text, _, _ = ask(llamacpp, max_tokens=300, temperature=2, seed=5)
    assert text.isascii()
    assert text.replace("\n", "").isprintable()


def test_the_key_is_checked(tiny_gguf: Path) -> None:
    with LlamaCppServer(tiny_gguf, api_key="sk-good") as server:
        good = openai.OpenAI(base_url=server.base_url, api_key="sk-good", max_retries=0)
        assert [model.id for model in good.models.list()] == [server.model]
        bad = openai.OpenAI(base_url=server.base_url, api_key="sk-bad", max_retries=0)
        with pytest.raises(openai.AuthenticationError):
            bad.chat.completions.create(model="tiny", messages=QUESTION, max_tokens=1)  # type: ignore[arg-type]


def test_a_refusal_keeps_its_status(llamacpp: LlamaCppServer) -> None:
    with pytest.raises(EngineError) as caught:
        forward(llamacpp, "/chat/completions", {"messages": "none"})
    assert caught.value.status in (400, 500)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert available() is None
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "xllamacpp" else True
    )
    assert available() == "not installed: xllamacpp"


def test_canned_text_bends_to_limit_and_stop() -> None:
    assert limit_text("one two three", 1, []) == (["one"], "length")
    assert limit_text("one two three", None, ["two"]) == (["one", " "], "stop")
    assert limit_text("one two three", 1, [" two"]) == (["one"], "stop")


def test_sample_json_follows_references_and_choices() -> None:
    schema = {
        "$defs": {"Colour": {"enum": ["red", "blue"]}},
        "type": "object",
        "properties": {
            "c": {"$ref": "#/$defs/Colour"},
            "o": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        },
    }
    assert sample_json(schema) == {"c": "red", "o": 4}
