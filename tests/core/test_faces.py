"""The three faces: the names that programs, plugin authors and their tests may rely on."""

from __future__ import annotations

import ast
import importlib
import pkgutil
from pathlib import Path
from types import ModuleType

import pytest

import mellea_api
import mellea_api.plugin
import mellea_api.testing

ROOT = Path(__file__).parents[2]
FACES = [mellea_api, mellea_api.plugin, mellea_api.testing]
PROGRAMS = """
    MelleaRuntime Registry refresh shared_registry
    start_session session_request build_session stream_chat astream_chat explain_options
    options_report sampling_errors list_models list_all_models validate_credentials
    check_readiness diagnose current_run_id
    Secret SessionRequest ModelInfo ModelListing NormalizedOptions OptionDecision
    CredentialReport CredentialFinding
    MelleaAPIError AnswerError BackendNotFoundError BackendUnavailableError ConcurrentUseError
    ConfigurationError ContentRefusedError ContextLengthError CredentialError ModelNotFoundError
    OptionError OptionProblem PermissionDeniedError PluginError ProviderError RateLimitError
    RequestRefusedError RequestTimeoutError SessionClosedError
    __version__
"""
AUTHORS = """
    hookimpl BackendDescriptor OpenAICompatible CredentialField Setting ModelInfo
    OptionRule Converted Retirement TEXT_RULES MELLEA_RULES
    system_message tools_as_json
    TextBackend Prompt Target
    SessionRequest ModelsRequest CredentialRequest OptionsRequest ErrorRequest
    CredentialQuery OptionPatch
    careful whole reading_answer ask_apart
    engine_error engine_session
"""


def of_type_checkers(face: ModuleType) -> dict[str, str]:
    """The names that type checkers see, each with its module."""
    source = ast.parse(Path(face.__file__ or "").read_text())
    (block,) = (
        node
        for node in source.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    return {
        alias.name: (node.module or "")
        for node in block.body
        if isinstance(node, ast.ImportFrom) and node.module != "typing"
        for alias in node.names
    }


def test_programs_find_these_names_and_no_others() -> None:
    assert sorted(mellea_api.__all__) == sorted(PROGRAMS.split())


def test_authors_find_these_names_and_no_others() -> None:
    assert sorted(mellea_api.plugin.__all__) == sorted(AUTHORS.split())


@pytest.mark.parametrize("plugin", ["plugins/ollama", "examples/ngram"])
def test_a_plugin_imports_from_the_faces_alone(plugin: str) -> None:
    """The others follow as they move."""
    imported = {
        name
        for path in (ROOT / plugin / "src").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        for name in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else []
        )
        if name.partition(".")[0] == "mellea_api"
    }
    assert imported <= {"mellea_api", "mellea_api.plugin"}


def test_what_is_not_a_face_begins_with_an_underscore() -> None:
    public = {found.name for found in pkgutil.iter_modules(mellea_api.__path__)}
    assert {name for name in public if not name.startswith("_")} == {
        *("hookspecs", "plugin", "runtime", "testing")
    }


@pytest.mark.parametrize("face", FACES, ids=lambda face: face.__name__)
def test_a_face_is_sorted_and_lists_each_name_once(face: ModuleType) -> None:
    def order(name: str) -> tuple[bool, bool, str]:
        return (not name.isupper(), not name[0].isupper(), name)

    assert face.__all__ == sorted(set(face.__all__), key=order)
    assert dir(face) == sorted(face.__all__)


@pytest.mark.parametrize("face", FACES, ids=lambda face: face.__name__)
def test_type_checkers_see_what_programs_get(face: ModuleType) -> None:
    at_run_time = {
        name: f"mellea_api.{module}"
        for module, names in face._HOMES.items()
        for name in names.split()
    }
    assert of_type_checkers(face) == at_run_time
    assert sorted({*face.__all__} - {"__version__"}) == sorted(at_run_time)
    for name, home in at_run_time.items():
        assert getattr(face, name) is getattr(importlib.import_module(home), name)


@pytest.mark.parametrize("face", FACES, ids=lambda face: face.__name__)
def test_another_name_is_an_attribute_error(face: ModuleType) -> None:
    with pytest.raises(AttributeError, match=f"'{face.__name__}' has no attribute 'sesion'"):
        face.sesion  # noqa: B018 - the look-up is the test
