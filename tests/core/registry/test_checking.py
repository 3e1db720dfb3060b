"""What is checked of a plugin against the contract, and that each fault is named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import pytest
from support.fake_plugins import GOOD, backend, refused, registry

from mellea_api import PluginError
from mellea_api._contract.option_rule import OptionType
from mellea_api._options.limits import CHECKS
from mellea_api._registry.loading import find_problems
from mellea_api.plugin import CredentialField, OptionRule, hookimpl

WritePlugin = Callable[[str], str]
IMPORT = "from mellea_api import *\nfrom mellea_api.plugin import (BackendDescriptor, CredentialField, CredentialQuery, ErrorRequest, OptionPatch, OptionRule, hookimpl)\n"


# --- the contract ------------------------------------------------------------------------------


DESCRIBE = """
@hookimpl
def describe_backend(name):
    return BackendDescriptor(name=name, summary="", default_model="m")
"""
CREATE = """
@hookimpl
def create_session(request): ...
"""
BOTH = DESCRIBE + CREATE


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (DESCRIBE, "it lacks the required hook create_session"),
        (CREATE, "it lacks the required hook describe_backend"),
        ("", "it lacks the required hook describe_backend; it lacks the required hook create_s"),
        (
            DESCRIBE + CREATE.replace("create_session", "create_sesion"),
            "there is no hook 'create_sesion'; did you mean create_session?",
        ),
        (BOTH + "@hookimpl\ndef frobnicate(): ...", "there is no hook 'frobnicate'"),
        (
            BOTH + "@hookimpl(specname='list_model')\ndef f(): ...",
            "there is no hook 'list_model'; did you mean list_models?",
        ),
        (BOTH + "@hookimpl(optionalhook=True)\ndef lists(): ...", "there is no hook 'lists'"),
        (
            DESCRIBE + CREATE.replace("request", "req"),
            "create_session takes 'req'; its parameters are (request)",
        ),
        (
            DESCRIBE + CREATE.replace("request", "request, extra"),
            "create_session takes 'extra'; its parameters are (request)",
        ),
        (DESCRIBE + CREATE.replace("request", "*args"), "create_session takes '*args'"),
        (DESCRIBE + CREATE.replace("request", "**kw"), "create_session takes '**kw'"),
        (
            DESCRIBE + CREATE.replace("request", "request=None"),
            "create_session takes 'request=None'; its parameters are (request), without defaults",
        ),
        (
            BOTH + "@hookimpl\nasync def translate_error(request): ...",
            "translate_error is async; create_session, list_models, validate_credentials may be",
        ),
        (
            BOTH + "@hookimpl(wrapper=True)\nasync def list_models(request): ...",
            "list_models is async",
        ),
        (
            DESCRIBE + "@hookimpl\nasync def create_session(request):\n    yield 1",
            "create_session is async",
        ),
        (
            DESCRIBE + "def create_session(request): ...",
            "create_session has no mark; mark it with @hookimpl",
        ),
        (
            "import pluggy\nother = pluggy.HookimplMarker('llm')\n"
            + DESCRIBE
            + CREATE.replace("@hookimpl", "@other"),
            "create_session has no mark; mark it with @hookimpl from mellea_api.plugin",
        ),
        (
            BOTH + "@hookimpl(wrapper=True)\ndef list_models(request): ...",
            "list_models is a wrapper that never yields",
        ),
        (
            BOTH + "@hookimpl(hookwrapper=True)\ndef list_models(request): ...",
            "list_models is a wrapper that never yields",
        ),
    ],
)
def test_what_breaks_the_contract_is_named(
    write_plugin: WritePlugin, source: str, reason: str
) -> None:
    assert reason in str(refused(write_plugin, IMPORT + source))


def test_all_faults_of_a_plugin_are_named_at_once(write_plugin: WritePlugin) -> None:
    text = str(refused(write_plugin, IMPORT + "@hookimpl\ndef a(): ...\n@hookimpl\ndef b(): ..."))
    assert all(part in text for part in ("'a'", "'b'", "describe_backend", "create_session"))


def test_other_functions_of_a_plugin_are_its_own_business(write_plugin: WritePlugin) -> None:
    """Among them built-in ones, which have no attributes, and the contract's own."""
    name = write_plugin(
        GOOD
        + "from math import floor\nfrom os import getcwd\nfrom mellea_api.hookspecs import list_models\n"
        + "def helper(): ...\nclass Kept:\n    def create_session(self): ...\n"
    )
    assert registry(backend("fake", name)).backend("fake")


def test_an_object_whose_parts_cannot_be_had_is_refused(write_plugin: WritePlugin) -> None:
    source = "class Plugin:\n    @property\n    def part(self): raise RuntimeError('no')\nplugin = Plugin()"
    assert "RuntimeError: no" in str(refused(write_plugin, source, attribute=":plugin"))


def test_a_wrapper_that_only_raises_or_returns_later_is_fine() -> None:
    class Wrappers:
        @hookimpl(wrapper=True)
        def list_models(self, request: Any) -> Any:
            answer = yield
            if answer is None:
                raise RuntimeError
            return answer

        @hookimpl(hookwrapper=True)
        def create_session(self, request: Any) -> Any:
            yield

    assert not list(find_problems(Wrappers(), "extension"))


# --- the description ---------------------------------------------------------------------------


def describing(what: str) -> str:
    return IMPORT + CREATE + f"@hookimpl\ndef describe_backend(name):\n    {what}\n"


MADE = "BackendDescriptor(name={name}, summary='', default_model='m', contract_version={version})"


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("return None", "describe_backend returned None"),
        (
            "return {'name': name}",
            "describe_backend returned a dict instead of a BackendDescriptor",
        ),
        ("raise KeyError('x')", "describe_backend raised KeyError: 'x'"),
        ("raise SystemExit(1)", "describe_backend raised SystemExit: 1"),
        (
            "return " + MADE.format(name="'other'", version=2),
            "it is found as 'fake' and calls itself 'other'",
        ),
        (
            "return " + MADE.format(name="name", version=3),
            "it has contract version 3, the core 2: upgrade mellea-api",
        ),
        (
            "return " + MADE.format(name="name", version=0),
            "it has contract version 0, the core 2: upgrade dist-one",
        ),
        (
            "return " + MADE.format(name="name", version="'one'"),
            "its contract_version is not a number",
        ),
        ("return " + MADE.format(name="[]", version=2), "its name is not text"),
        ("return BackendDescriptor(nam=name)", "describe_backend raised TypeError"),
    ],
)
def test_a_description_that_is_none_is_the_reason(
    write_plugin: WritePlugin, what: str, reason: str
) -> None:
    assert reason in str(refused(write_plugin, describing(what)))


def test_an_alias_may_describe_itself_by_any_of_its_names(write_plugin: WritePlugin) -> None:
    fixed = write_plugin(describing("return " + MADE.format(name="'hugging'", version=2)))
    found = registry(
        backend("hugging", fixed), backend("hug", fixed), backend("other", fixed, "d2")
    )
    assert found.backend("hug").descriptor.name == "hugging"
    assert found.backend("hug").name == "hug"
    with pytest.raises(PluginError, match="calls itself 'hugging'"):
        found.backend("other")


def test_each_name_of_a_plugin_is_a_backend_of_its_own(write_plugin: WritePlugin) -> None:
    name = write_plugin(GOOD)
    found = registry(backend("one", name), backend("two", name))
    assert found.backend("one").descriptor.name == "one"
    assert found.backend("two").descriptor.name == "two"


RULE = "options=(OptionRule(name='max_tokens', chat='n', {}),)"
FIELD = "credentials=(CredentialField(name='key', {}),)"


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ("summary=None", "its summary is not text"),
        ("default_model=3", "its default_model is neither a name nor None"),
        ("default_model=''", "its default_model is neither a name nor None"),
        ("model_hint='use {it}'", "its model_hint has braces with something else than {model}"),
        ("models=('m',)", "'m' among its models is not of the type ModelInfo"),
        ("credentials='key'", "'key' among its credentials is not of the type CredentialField"),
        (
            FIELD.format("required='yes'"),
            "'key': required is 'yes', not always, official or never",
        ),
        (
            FIELD.replace("'key'", "'timeout'").format(""),
            "that is the name of an argument of start_s",
        ),
        (
            FIELD.replace("'key'", "'api-key'").format(""),
            "an argument of start_session cannot have that",
        ),
        (
            FIELD.format("pattern='('"),
            "CredentialField 'key': its pattern cannot be read: missing )",
        ),
        (
            "options=[{'name': 'x'}]",
            "{'name': 'x'} among its options is not of the type OptionRule",
        ),
        ("options=(OptionRule(name=''),)", "it has no name"),
        (
            "options=(OptionRule(name='max_new_tokens', chat='n'),)",
            "'max_new_tokens' is never read: that is a spelling of 'max_tokens'",
        ),
        (
            RULE.replace("'n'", "{{'key': 'n'}}").format(""),
            "which is neither text nor a pair of texts",
        ),
        (RULE.format("convert='effort'"), "it converts with 'effort', which is not a function"),
        (
            RULE.format("type='int'"),
            "OptionRule 'max_tokens': its type is 'int'; there are number, ",
        ),
        (RULE.format("server='mine'"), "is for the server 'mine'; not official, compat"),
        (RULE.format("mellea='newest'"), "it needs Mellea 'newest', which is not a version"),
        (RULE.format("minimum=5, maximum=3"), "no value is at least 5 and at most 3"),
        (RULE.format("requires={'seed': 1}"), "requires something else than tuples of values"),
    ],
)
def test_a_description_that_cannot_be_meant_is_the_reason(
    write_plugin: WritePlugin, facts: str, reason: str
) -> None:
    """It would end far from its cause, or in nothing at all."""
    given = f"return BackendDescriptor(**{{**dict(name=name, summary='', default_model='m'), **dict({facts})}})"
    assert reason in str(refused(write_plugin, describing(given)))


def test_all_that_is_wrong_with_a_description_is_named_at_once(write_plugin: WritePlugin) -> None:
    given = "return BackendDescriptor(name=name, summary=1, default_model='', models=[3])"
    text = str(refused(write_plugin, describing(given)))
    assert all(part in text for part in ("summary", "default_model", "3 among its models"))


def test_what_cannot_be_meant_fails_in_the_line_that_says_it() -> None:
    with pytest.raises(ValueError, match=r"OptionRule .seed.: .* not a version.*; no value is at"):
        OptionRule(name="seed", mellea="newest", minimum=2, maximum=1)
    with pytest.raises(ValueError, match="CredentialField 'timeout': that is the name of an arg"):
        CredentialField(name="timeout")


def test_there_is_a_check_for_each_type_of_an_option() -> None:
    assert set(get_args(OptionType)) == set(CHECKS)
