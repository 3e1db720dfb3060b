"""Write the `snapshot.json` of plugins/litellm: what LiteLLM does with each option on each route.

    python tools/litellm_snapshot.py          # writes it, from the installed LiteLLM
    python tools/litellm_snapshot.py --check  # says what would change, and fails if any

Run it where the version of LiteLLM is installed that the snapshot is to describe. Nothing is sent
to anybody: every connection is refused.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import re
import socket
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
HOME = Path(__file__).resolve().parents[1] / "plugins/litellm/src/mellea_api_litellm"
sys.path.insert(0, str(HOME.parent))

# Families that LiteLLM tells by their names, also where its list of models has none of them.
STEMS = ("gpt-5", "gpt-5.1", "gpt-5.2", "o1", "o3", "o4-mini", "gpt-oss", "claude-sonnet-4-5")
STEMMED = ("azure", "github_copilot", "hosted_vllm", "ollama", "ollama_chat", "openrouter")
GENERATING = ("chat", "completion", "responses")
LOGIN = ("chatgpt", "github_copilot")  # a call would open a browser
OPENAI = ("openai", "text-completion-openai", "custom_openai")


def refuse_connections() -> None:
    """Make sure that what is found out is found out offline."""

    def refuse(*_: Any) -> Any:
        raise OSError("the snapshot is made offline")

    socket.socket.connect = refuse  # type: ignore[method-assign,assignment]
    socket.getaddrinfo = refuse  # type: ignore[assignment]


def variables(provider: str, model: str) -> list[str]:
    """Return the variables in which LiteLLM looks for a key, found by calling it and listening."""
    import litellm

    asked: list[str] = []
    kind = type(os.environ)
    look_up = kind.__getitem__

    def listen(environ: Any, name: Any) -> str:
        asked.append(os.fsdecode(name))
        return look_up(environ, name)

    kind.__getitem__ = listen  # type: ignore[method-assign]
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(Exception):
            litellm.completion(
                model=f"{provider}/{model}",
                messages=[{"role": "user", "content": "hi"}],
                max_retries=0,
                num_retries=0,
                timeout=1,
            )
    finally:
        kind.__getitem__ = look_up  # type: ignore[method-assign]
    return keys_among(provider, asked)


def keys_among(provider: str, asked: list[str]) -> list[str]:
    """Return the names of keys; the OpenAI SDK's own is another provider's, and no key of this."""
    named = [name for name in dict.fromkeys(asked) if re.search(r"(KEY|TOKEN)$", name)]
    foreign = ("OPENAI_ADMIN_KEY", "AWS_", *(() if provider in OPENAI else ("OPENAI_API_KEY",)))
    return [name for name in named if not name.startswith(foreign)]


def make() -> dict[str, Any]:
    """Ask LiteLLM about every route."""
    import litellm
    from litellm.constants import openai_compatible_providers
    from litellm.types.utils import all_litellm_params

    from mellea_api_litellm import probe

    litellm.suppress_debug_info = True
    kinds: list[dict[str, Any]] = []
    numbers: dict[str, int] = {}
    providers: dict[str, dict[str, Any]] = {}

    def kind(provider: str, model: str, model_id: str) -> int | None:
        try:
            found = probe.places(provider, model, model_id)
        except Exception as error:
            print(f"left out: {model_id}: {type(error).__name__}: {error}"[:200], file=sys.stderr)
            return None
        key = json.dumps(found, sort_keys=True)
        if key not in numbers:
            numbers[key] = len(kinds)
            kinds.append(found)
        return numbers[key]

    def add(provider: str, model: str, model_id: str, context: Any = None, listed: int = 0) -> None:
        entry = providers.setdefault(provider, {"kind": None, "models": {}})
        number = kind(provider, model, model_id)
        if number is not None and model not in entry["models"]:
            bare = int(listed and model_id == model)
            entry["models"][model] = [number, context, listed, bare]

    for provider in sorted({str(getattr(name, "value", name)) for name in litellm.provider_list}):
        number = kind(provider, "zz-model", f"{provider}/zz-model")
        if number is not None:
            providers[provider] = {"kind": number, "models": {}}
    for model_id, facts in sorted(litellm.model_cost.items()):
        if facts.get("mode") not in GENERATING:
            continue
        prefix = facts.get("litellm_provider")
        for name in (model_id, f"{prefix}/{model_id}"):
            found = probe.provider_of(name)
            if found is not None:
                context = facts.get("max_input_tokens")
                context = context if isinstance(context, int) else None
                add(*found, name, context, 1)
                break
    for provider in STEMMED:
        for stem in STEMS:
            add(provider, stem, f"{provider}/{stem}")

    def keys(provider: str) -> list[str]:
        if provider in LOGIN:
            return []
        return variables(provider, next(iter(providers[provider]["models"]), "zz-model"))

    return {
        "litellm": version("litellm"),
        "openai_compatible": sorted({"openai", "azure", *openai_compatible_providers}),
        "parameters": sorted(litellm.constants.DEFAULT_CHAT_COMPLETION_PARAM_VALUES),
        "own": sorted(set(all_litellm_params)),
        "keys": {name: found for name in sorted(providers) if (found := keys(name))},
        "kinds": kinds,
        "providers": dict(sorted(providers.items())),
    }


def main() -> int:
    """Write the snapshot, or compare."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare with what is there")
    check = parser.parse_args().check
    refuse_connections()
    made = json.loads(json.dumps(make()))
    path = HOME / "snapshot.json"
    if not check:
        lines = json.dumps(made, separators=(",", ":"), sort_keys=True)
        path.write_text(lines.replace('{"kind":', '\n{"kind":') + "\n")
        print(
            f"{path.name}: litellm {made['litellm']}, {len(made['kinds'])} kinds, "
            f"{sum(len(each['models']) for each in made['providers'].values())} models"
        )
        return 0
    there = json.loads(path.read_text())
    found = list(differences(there, made))
    print(*(found or ["no difference"]), sep="\n")
    return bool(found)


def differences(old: dict[str, Any], new: dict[str, Any]) -> Any:
    """Yield a line for each thing that is not the same."""
    for name in ("litellm", "openai_compatible", "parameters", "own", "keys"):
        if old[name] != new[name]:
            yield f"{name}: {old[name]} -> {new[name]}"[:300]
    for provider in sorted({*old["providers"], *new["providers"]}):
        before, after = old["providers"].get(provider), new["providers"].get(provider)
        if before is None or after is None:
            yield f"{provider}: {'gone' if after is None else 'new'}"
            continue
        routes = {"*": [before["kind"], after["kind"]]}
        for model in sorted({*before["models"], *after["models"]}):
            pair = [each["models"].get(model) for each in (before, after)]
            if None in pair:
                yield f"{provider}/{model}: {'gone' if pair[1] is None else 'new'}"
            else:
                if pair[0][1:] != pair[1][1:]:
                    yield f"{provider}/{model}: {pair[0][1:]} -> {pair[1][1:]}"
                routes[model] = [pair[0][0], pair[1][0]]
        for model, (one, other) in routes.items():
            was = old["kinds"][one] if one is not None else {}
            now = new["kinds"][other] if other is not None else {}
            for name in sorted({*was, *now}):
                if was.get(name) != now.get(name):
                    yield f"{provider}/{model}: {name}: {was.get(name)} -> {now.get(name)}"


if __name__ == "__main__":
    raise SystemExit(main())
