"""The tiny models of these tests, each made once; and what transformers itself makes of them."""

from __future__ import annotations

import importlib.util
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# Read when torch is imported: Mellea's grammars would compile a kernel in C++, for half a minute.
os.environ["TORCHDYNAMO_DISABLE"] = "1"

NEEDED = ("torch", "transformers", "accelerate", "huggingface_hub")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]


@pytest.fixture(scope="session")
def transformers_here() -> None:
    """Skips, with the reason, where what the backend runs on is not installed."""
    if MISSING:
        pytest.skip(f'not installed: {", ".join(MISSING)} (pip install "mellea[hf]")')
    with warnings.catch_warnings():
        # Importing torch's compiler, which Mellea's grammars bring, warns of torch's own ways.
        warnings.simplefilter("ignore")
        import mellea.backends.huggingface  # noqa: F401


@pytest.fixture(scope="session")
def build(transformers_here: None, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes tiny models, by the arguments of `support.tiny_transformers.build`."""
    from support import tiny_transformers

    made: dict[str, Path] = {}

    def build(**arguments: Any) -> Path:
        key = repr(sorted(arguments.items()))
        if key not in made:
            folder = tmp_path_factory.mktemp("model") / "tiny"
            made[key] = tiny_transformers.build(folder, **arguments)
        return made[key]

    return build


@pytest.fixture(scope="session")
def tiny(build: Callable[..., Path]) -> Path:
    """A folder with the tiny model."""
    return build()


@pytest.fixture(scope="session")
def held(tiny: Path) -> Any:
    """A session that keeps the tiny model in memory, so that the others share it."""
    import mellea_api

    return mellea_api.start_session("hf", str(tiny))


@pytest.fixture(scope="session")
def reference(tiny: Path) -> Callable[..., str]:
    """What transformers itself answers, without Mellea and without this library."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny)
    model = AutoModelForCausalLM.from_pretrained(tiny)

    def answer(prompt: str, *, seed: int = 0, raw: bool = False, **arguments: Any) -> str:
        if raw:
            tokens = tokenizer(prompt, return_tensors="pt")["input_ids"]
        else:
            messages = [{"role": "user", "content": prompt}]
            text = tokenizer.apply_chat_template(
                messages, add_generation_prompt=True, tokenize=False
            )
            tokens = tokenizer(text, return_tensors="pt", add_special_tokens=False)["input_ids"]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            found = model.generate(
                tokens,
                attention_mask=torch.ones_like(tokens),
                **{"pad_token_id": tokenizer.pad_token_id, **arguments},
            )
        return str(tokenizer.decode(found[0, tokens.shape[1] :], skip_special_tokens=True))

    answer.tokenizer = tokenizer  # type: ignore[attr-defined]
    return answer
