"""What is checked when a plugin is loaded, that each fault is named, and that it stays alone."""

from __future__ import annotations

import importlib
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from support.fake_plugins import GOOD, backend, extension, registry
from support.waiting import until

from mellea_api import (
    PluginError,
    explain_options,
    hookimpl,
    start_session,
)
from mellea_api.registry.loading import check_plugin

WritePlugin = Callable[[str], str]
IMPORT = "from mellea_api import *\nfrom mellea_api import hookimpl\n"


def refused(write: WritePlugin, source: str, *, attribute: str = "") -> PluginError:
    found = registry(backend("fake", write(source) + attribute), backend("good", write(GOOD)))
    with pytest.raises(PluginError) as caught:
        found.backend("fake")
    error = caught.value
    assert error.plugin == error.backend == "fake"
    assert error.distributions == ("dist-one",)
    assert "dist-one 1.0" in str(error)
    assert str(error).endswith("switch it off with MELLEA_API_DISABLE=fake.")
    assert found.backend("good").descriptor.name == "good"  # the others go on working
    return error


# --- importing ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("import no_such_sdk", ModuleNotFoundError),
        ("raise SystemExit(3)", SystemExit),
        ("import sys; sys.exit()", SystemExit),
        ("def broken(:", SyntaxError),
        ("raise RuntimeError('at import')", RuntimeError),
        ("1/0", ZeroDivisionError),
        ("import sys; sys.modules[__name__] = None", None),
        ("def f(): f()\nf()", RecursionError),
    ],
)
def test_whatever_an_import_raises_is_the_reason(
    write_plugin: WritePlugin, source: str, kind: type[BaseException] | None
) -> None:
    error = refused(write_plugin, source)
    if kind is not None:
        assert kind.__name__ in str(error)
        assert isinstance(error.__cause__, kind)


def test_a_module_or_attribute_that_is_not_there_is_the_reason(write_plugin: WritePlugin) -> None:
    assert "no attribute" in str(refused(write_plugin, GOOD, attribute=":missing"))
    with pytest.raises(PluginError, match="no_such_module"):
        registry(backend("fake", "no_such_module")).backend("fake")


def test_an_empty_or_odd_entry_point_is_the_reason() -> None:
    for value in ("", ":", ":x", "..", "a..b", "no such", "os:path.nothing"):
        with pytest.raises(PluginError):
            registry(backend("fake", value)).backend("fake")


def test_a_class_is_no_plugin(write_plugin: WritePlugin) -> None:
    assert "is a class" in str(refused(write_plugin, "class Plugin: pass", attribute=":Plugin"))


def test_an_object_can_be_a_plugin(write_plugin: WritePlugin) -> None:
    name = write_plugin(
        IMPORT
        + """
class Plugin:
    @hookimpl
    def describe_backend(self, name):
        return BackendDescriptor(name=name, summary="an object", default_model="m")
    @hookimpl
    def create_session(self, request): ...
plugin = Plugin()
"""
    )
    found = registry(backend("fake", f"{name}:plugin")).backend("fake")
    assert found.descriptor.summary == "an object"


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
            "create_session: request has a default, and would never be given a value",
        ),
        (DESCRIBE + CREATE.replace("def ", "async def "), "create_session is async"),
        (
            DESCRIBE + "@hookimpl\nasync def create_session(request):\n    yield 1",
            "create_session is async",
        ),
        (
            DESCRIBE + "def create_session(request): ...",
            "create_session has no mark; mark it with @hookimpl from mellea_api",
        ),
        (
            "import pluggy\nother = pluggy.HookimplMarker('llm')\n"
            + DESCRIBE
            + CREATE.replace("@hookimpl", "@other"),
            "create_session is marked for 'llm'; mark it with @hookimpl from mellea_api",
        ),
        (
            BOTH + "@hookimpl(wrapper=True)\ndef list_models(request): ...",
            "list_models is a wrapper that never yields",
        ),
        (
            BOTH + "@hookimpl(hookwrapper=True)\ndef list_models(request): ...",
            "list_models is a wrapper that never yields",
        ),
        (
            BOTH + "@hookimpl(wrapper=True)\ndef list_models(request):\n    yield",
            "list_models is a wrapper without a return",
        ),
        (
            BOTH
            + "@hookimpl(wrapper=True)\ndef list_models(request):\n"
            + "    def inner():\n        return 1\n    yield\n    return",
            "list_models is a wrapper without a return",
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

    assert not list(check_plugin(Wrappers(), extension=True))


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
            "return " + MADE.format(name="'other'", version=1),
            "it is found as 'fake' and calls itself 'other'",
        ),
        (
            "return " + MADE.format(name="name", version=2),
            "version 2 of the contract, and this mellea-api speaks version 1; upgrade mellea-api",
        ),
        (
            "return " + MADE.format(name="name", version=0),
            "version 0 of the contract, and this mellea-api speaks version 1; upgrade dist-one",
        ),
        ("return " + MADE.format(name="name", version="'one'"), "cannot be read: TypeError"),
        ("return " + MADE.format(name="[]", version=1), "cannot be read: TypeError"),
        ("return BackendDescriptor(nam=name)", "describe_backend raised TypeError"),
    ],
)
def test_a_description_that_is_none_is_the_reason(
    write_plugin: WritePlugin, what: str, reason: str
) -> None:
    assert reason in str(refused(write_plugin, describing(what)))


def test_an_alias_may_describe_itself_by_any_of_its_names(write_plugin: WritePlugin) -> None:
    fixed = write_plugin(describing("return " + MADE.format(name="'hugging'", version=1)))
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


# --- a broken plugin stays alone ---------------------------------------------------------------


def test_the_reason_is_raised_each_time_and_the_plugin_is_imported_once(
    write_plugin: WritePlugin,
) -> None:
    name = write_plugin("import sys\nsys.imported.append(1)\nraise RuntimeError('broken')")
    sys.imported = []  # type: ignore[attr-defined]
    try:
        found = registry(backend("fake", name))
        errors = []
        for _ in range(3):
            with pytest.raises(PluginError) as caught:
                found.backend("fake")
            errors.append(caught.value)
        assert sys.imported == [1]  # type: ignore[attr-defined]
    finally:
        del sys.imported  # type: ignore[attr-defined]
    assert len({str(error) for error in errors}) == 1
    assert len({id(error) for error in errors}) == 3
    assert all(isinstance(error.__cause__, RuntimeError) for error in errors)
    lengths = {len(traceback.extract_tb(error.__traceback__)) for error in errors}
    assert len(lengths) == 1  # no traceback grows with each use


def test_a_plugin_that_was_mended_works_in_a_new_registry(
    write_plugin: WritePlugin, tmp_path: Any
) -> None:
    name = write_plugin("raise RuntimeError")
    entry = backend("fake", name)
    with pytest.raises(PluginError):
        registry(entry).backend("fake")
    path = tmp_path / f"{name}.py"
    path.write_text(GOOD)
    assert registry(entry).backend("fake")


def test_an_interrupt_is_nobodys_error_and_is_not_remembered(write_plugin: WritePlugin) -> None:
    name = write_plugin("import sys\nif sys.interrupting:\n    raise KeyboardInterrupt\n" + GOOD)
    found = registry(backend("fake", name))
    sys.interrupting = True  # type: ignore[attr-defined]
    try:
        with pytest.raises(KeyboardInterrupt):
            found.backend("fake")
        sys.interrupting = False  # type: ignore[attr-defined]
        assert found.backend("fake")
    finally:
        del sys.interrupting  # type: ignore[attr-defined]


def test_finding_and_naming_imports_no_plugin(write_plugin: WritePlugin) -> None:
    name = write_plugin("raise SystemExit")
    found = registry(backend("fake", name), extension("policy", name))
    assert found.names() == ["fake"]
    assert found.backends()
    assert found.extensions()
    assert name not in sys.modules


# --- extensions --------------------------------------------------------------------------------

ADDITIVE = IMPORT + "@hookimpl\ndef review_options(request): return []\n"


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
        (IMPORT + CREATE, "create_session would replace the backend's own answer"),
        (
            IMPORT + "@hookimpl(wrapper=True)\ndef create_session(request):\n    yield",
            "create_session is a wrapper without a return",
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
        "from mellea_api.options.plan import apply_rules\n"
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
            f"Upgrade or mend {' or '.join(distributions)}, or switch it off with "
            f"MELLEA_API_DISABLE={' or '.join(names)}."
        )
        for culprit in culprits[1:]:
            assert culprit in str(caught.value)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("yield\n    raise KeyError('mine')", "failed with KeyError: 'mine'"),
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


# --- concurrency -------------------------------------------------------------------------------


def test_threads_that_ask_for_one_backend_load_it_once(write_plugin: WritePlugin) -> None:
    name = write_plugin("import sys, time\nsys.imported.append(1)\ntime.sleep(0.05)\n" + GOOD)
    sys.imported = []  # type: ignore[attr-defined]
    found = registry(backend("fake", name))
    start = threading.Barrier(32)
    backends: list[object] = []

    def ask() -> None:
        start.wait()
        backends.append(found.backend("fake"))

    threads = [threading.Thread(target=ask) for _ in range(32)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert sys.imported == [1]  # type: ignore[attr-defined]
    finally:
        del sys.imported  # type: ignore[attr-defined]
    assert len(backends) == 32
    assert len(set(map(id, backends))) == 1


def test_a_plugin_that_asks_for_a_backend_while_it_is_imported_holds_up_nobody(
    monkeypatch: pytest.MonkeyPatch, write_plugin: WritePlugin
) -> None:
    """One thread imports a program that has a plugin in it, another one asks for that plugin."""
    program = write_plugin("import sys\nsys.begin_program()\n" + GOOD)
    found = registry(backend("mine", program), backend("fake", write_plugin(GOOD)))
    asked: list[object] = []

    def begin() -> None:  # in the middle of the import, as programs do in their modules
        other = threading.Thread(target=lambda: asked.append(found.backend("mine")), daemon=True)
        other.start()
        other.join(0.2)
        asked.append(found.backend("fake"))

    monkeypatch.setattr(sys, "begin_program", begin, raising=False)
    importing = threading.Thread(target=importlib.import_module, args=(program,), daemon=True)
    importing.start()
    importing.join(20)
    assert not importing.is_alive()
    until(lambda: len(asked) == 2)


def test_threads_that_ask_for_a_broken_backend_all_get_its_reason(
    write_plugin: WritePlugin,
) -> None:
    found = registry(backend("fake", write_plugin("raise RuntimeError('broken')")))
    start = threading.Barrier(8)
    errors: list[BaseException] = []

    def ask() -> None:
        start.wait()
        try:
            found.backend("fake")
        except PluginError as error:
            time.sleep(0.001)
            errors.append(error)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len({id(error) for error in errors}) == 8
    assert len({str(error) for error in errors}) == 1
