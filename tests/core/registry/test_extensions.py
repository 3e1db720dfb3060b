"""An extension that is broken fails closed; what one raises or answers is laid at its door."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.fake_plugins import GOOD, backend, extension, registry

from mellea_api import PluginError, explain_options, start_session

WritePlugin = Callable[[str], str]
IMPORT = "from mellea_api import *\nfrom mellea_api.plugin import (BackendDescriptor, CredentialField, CredentialQuery, ErrorRequest, OptionPatch, OptionRule, hookimpl)\n"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("raise RuntimeError('no')", "RuntimeError: no"),
        ("raise SystemExit(1)", "SystemExit"),
        ("x = 1", "it implements no hook"),
        (IMPORT + "@hookimpl\ndef revue_options(request): ...", "did you mean review_options?"),
        (
            IMPORT + "@hookimpl\ndef normalize_options(request): ...",
            "normalize_options would replace the backend's own answer; an extension wraps it",
        ),
        (
            IMPORT + "@hookimpl\ndef create_session(request): ...",
            "create_session would replace the backend's own answer",
        ),
    ],
)
def test_an_extension_that_cannot_be_used_fails_every_backend(
    write_plugin: WritePlugin, source: str, reason: str
) -> None:
    """It fails closed: no session, and no explanation, without the policy that was installed."""
    found = registry(backend("fake", write_plugin(GOOD)), extension("policy", write_plugin(source)))
    uses: list[Callable[[], Any]] = [
        lambda: found.backend("fake"),
        lambda: explain_options("fake", {"seed": 1}, registry=found),
        lambda: start_session("fake", registry=found),
    ]
    for use in uses:
        with pytest.raises(PluginError) as caught:
            use()
        assert reason in str(caught.value)
        assert "the extension 'policy' of dist-policy" in str(caught.value)
        assert caught.value.plugin == "policy"
        assert caught.value.backend is None
    assert found.names() == ["fake"]


def test_extensions_in_conflict_fail_every_backend_and_one_switched_off_none(
    write_plugin: WritePlugin,
) -> None:
    good, policy = write_plugin(GOOD), write_plugin("raise RuntimeError")
    entries = [
        backend("fake", good),
        extension("policy", policy, "dist-one"),
        extension("policy", policy, "dist-two"),
    ]
    with pytest.raises(PluginError, match="dist-one and dist-two both bring it"):
        registry(*entries).backend("fake")
    assert registry(*entries, MELLEA_API_DISABLE="policy").backend("fake")


@pytest.mark.parametrize("wrapper", [False, True])
def test_what_an_extension_raises_is_laid_at_its_door(
    write_plugin: WritePlugin, wrapper: bool
) -> None:
    source = IMPORT + (
        "@hookimpl(wrapper=True)\n"
        "def normalize_options(request):\n    yield\n    raise KeyError('mine')"
        if wrapper
        else "@hookimpl\ndef review_options(request): raise KeyError('mine')"
    )
    found = registry(backend("fake", write_plugin(GOOD)), extension("policy", write_plugin(source)))
    with pytest.raises(PluginError, match="KeyError: 'mine'") as caught:
        explain_options("fake", {"seed": 1}, registry=found)
    assert caught.value.plugin == "policy"
    assert caught.value.distributions == ("dist-policy",)
    assert isinstance(caught.value.__cause__, KeyError)


def test_what_a_backend_raises_below_an_extensions_wrapper_is_the_backends(
    write_plugin: WritePlugin,
) -> None:
    source = GOOD + "@hookimpl\ndef normalize_options(request): raise KeyError('mine')"
    wrapping = (
        IMPORT + "@hookimpl(wrapper=True)\ndef normalize_options(request):\n"
        "    answer = yield\n    return answer"
    )
    found = registry(
        backend("fake", write_plugin(source)), extension("policy", write_plugin(wrapping))
    )
    with pytest.raises(PluginError, match="KeyError: 'mine'") as caught:
        explain_options("fake", {"seed": 1}, registry=found)
    assert caught.value.plugin == "fake"


WRAPPING = """
@hookimpl(wrapper=True)
def normalize_options(request):
    yield
    return 'text'
"""
WRONG = "normalize_options returned a str instead of a NormalizedOptions"


def test_an_answer_of_the_wrong_type_is_laid_at_the_door_of_those_that_had_a_part(
    write_plugin: WritePlugin,
) -> None:
    """Where the backend's plugin has no such hook, an extension alone can have answered."""
    own = GOOD + (
        "from mellea_api._options.plan import apply_rules\n"
        "@hookimpl\ndef normalize_options(request): return apply_rules(request)"
    )
    policy = extension("policy", write_plugin(IMPORT + WRAPPING))
    other = extension("rules", write_plugin(IMPORT + WRAPPING), "dist-rules")
    for source, entries, culprits in (
        (GOOD, [policy], ["policy of dist-policy"]),
        (GOOD, [policy, other], ["policy of dist-policy", "rules of dist-rules"]),
        (own, [policy], ["fake of dist-one", "policy of dist-policy"]),
    ):
        found = registry(backend("fake", write_plugin(source)), *entries)
        with pytest.raises(PluginError, match=WRONG) as caught:
            explain_options("fake", {"seed": 1}, registry=found)
        names = [culprit.partition(" of ")[0] for culprit in culprits]
        distributions = [culprit.partition(" of ")[2] for culprit in culprits]
        assert caught.value.plugin == names[0]
        assert caught.value.distributions == tuple(distributions)
        assert caught.value.next_step == (
            f"Upgrade or fix {' or '.join(distributions)}, or switch it off with "
            f"MELLEA_API_DISABLE={' or '.join(names)}."
        )
        for culprit in culprits[1:]:
            assert culprit in str(caught.value)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("yield\n    raise KeyError('mine')", "raised KeyError: 'mine'"),
        ("answer = yield\n    raise SystemExit(3)\n    return answer", "SystemExit: 3"),
        ("if False:\n        yield\n    return 3", "did not yield"),
        ("answer = yield\n    yield\n    return answer", "has second yield"),
    ],
)
@pytest.mark.parametrize("hook", ["list_models", "validate_credentials"])
def test_what_a_wrapper_does_around_a_provider_is_the_extensions(
    write_plugin: WritePlugin, hook: str, source: str, reason: str
) -> None:
    wrapping = IMPORT + f"@hookimpl(wrapper=True)\ndef {hook}(request):\n    {source}"
    found = registry(
        backend("fake", write_plugin(GOOD)), extension("policy", write_plugin(wrapping))
    ).backend("fake")
    noted: list[Any] = []
    try:
        if hook == "list_models":
            found.list_models(found.target())
        else:
            found.validate_credentials(found.target(), probe=True, noted=noted.append)
    except PluginError as error:
        noted.append(error)
    (error,) = noted
    assert (error.plugin, error.distributions) == ("policy", ("dist-policy",))
    assert reason in str(error)


def test_extensions_are_asked_in_the_order_of_their_names(write_plugin: WritePlugin) -> None:
    source = (
        IMPORT + "@hookimpl\ndef review_options(request):\n"
        "    return [OptionPatch(action='set', name='seed', value={value}, reason='{value}')]"
    )
    entries = [
        extension(name, write_plugin(source.format(value=value)))
        for name, value in (("b", 2), ("c", 3), ("a", 1))
    ]
    found = registry(backend("fake", write_plugin(GOOD)), *entries)
    assert explain_options("fake", {}, registry=found).wire == {"seed": 3}


def test_two_names_of_one_extension_act_once(write_plugin: WritePlugin) -> None:
    source = (
        IMPORT + "asked = []\n@hookimpl\ndef review_options(request):\n    asked.append(1)\n"
        "    return [OptionPatch(action='set', name='seed', value=len(asked), reason='once')]"
    )
    name = write_plugin(source)
    found = registry(
        backend("fake", write_plugin(GOOD)), extension("policy", name), extension("rules", name)
    )
    assert explain_options("fake", {}, registry=found).wire == {"seed": 1}
