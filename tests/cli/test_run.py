"""`mellea-api run`: a program must not be able to tell it from Python, but for its backends."""

from __future__ import annotations

import inspect
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.ollama_server import OllamaServer
from support.openai_server import OpenAIServer

Done = subprocess.CompletedProcess[str]
OURS = (sys.executable, "-m", "mellea_api", "run")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[OllamaServer]:
    with OllamaServer(["granite4:micro", "tiny"]) as running:
        monkeypatch.setenv("OLLAMA_HOST", running.base_url)
        yield running


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Writes the program, and makes its folder the current one."""
    monkeypatch.chdir(tmp_path)

    def program(source: str, name: str = "program.py") -> str:
        (tmp_path / name).write_text(source)
        return name

    return program


def call(*line: str, **settings: Any) -> Done:
    return subprocess.run(line, capture_output=True, check=False, text=True, timeout=90, **settings)


def ours(*arguments: str, **settings: Any) -> Done:
    return call(*OURS, *arguments, **settings)


def python(*arguments: str, **settings: Any) -> Done:
    return call(sys.executable, *arguments, **settings)


# --- the registry behind Mellea's functions ------------------------------------------------------

GUIDE = """
from mellea import start_session

session = start_session(
    backend_name='ollama',
    model_id='granite4:micro',
    model_options={'temperature': 0.7, 'max_tokens': 1024, 'top_p': 0.9, 'stop': ['\\n\\n']},
)
response = session.chat("Hello!")
print(response.content)
"""


def test_the_guides_program_sends_what_ollama_knows(write: Any, server: OllamaServer) -> None:
    done = ours(write(GUIDE))
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("4\n")
    (request,) = server.calls("/api/chat")
    assert request.json["options"] == {
        "temperature": 0.7,
        "num_predict": 1024,
        "top_p": 0.9,
        "stop": ["\n\n"],
    }
    assert server.warnings == server.violations == []


WAYS = {
    "from mellea": "from mellea import start_session",
    "mellea.": "import mellea\nstart_session = mellea.start_session",
    "stdlib": "from mellea.stdlib.session import start_session",
    "inside a function": "def start_session(*a, **k):\n"
    "    from mellea import start_session\n    return start_session(*a, **k)",
    "as a context manager": "import mellea\ndef start_session(*a, **k):\n"
    "    with mellea.start_session(*a, **k) as session:\n        return session",
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_the_function_is_ours(write: Any, server: OllamaServer, way: str) -> None:
    source = (
        f"{WAYS[way]}\ns = start_session('ollama', 'tiny', model_options={{'max_tokens': 3}})\n"
    )
    done = ours(write(source + "s.chat('Hi.')"))
    assert done.returncode == 0, done.stderr
    assert server.last.json["options"] == {"num_predict": 3}


def test_what_was_imported_before_the_program_is_ours_too(
    write: Any, server: OllamaServer, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text("from mellea import start_session as early\n")
    source = (
        "import sitecustomize, mellea\n"
        "assert sitecustomize.early is mellea.start_session\n"
        "s = sitecustomize.early('ollama', 'tiny', model_options={'max_tokens': 3})\n"
        "s.chat('Hi.')\n"
    )
    done = ours(write(source), env={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    assert server.last.json["options"] == {"num_predict": 3}


SESSION, BACKEND = "mellea.stdlib.session", "mellea.stdlib.start_backend"


def melleas_default(module: str, function: str) -> Any:
    original = getattr(pytest.importorskip(module), function)
    return inspect.signature(original).parameters["model_id"].default


@pytest.mark.parametrize(
    ("module", "function", "session"),
    [(SESSION, "start_session", "made"), (BACKEND, "start_backend", "MelleaSession(made[1])")],
)
@pytest.mark.parametrize("there", [True, False])
def test_a_program_that_names_no_model_gets_melleas_own_default(
    write: Any,
    monkeypatch: pytest.MonkeyPatch,
    module: str,
    function: str,
    session: str,
    there: bool,
) -> None:
    """The one of the installed Mellea's function; a missing model is downloaded, as by Mellea."""
    default = melleas_default(module, function).ollama_name
    source = (
        f"from mellea import MelleaSession\nfrom {module} import {function}\n"
        f"made = {function}()\n{session}.chat('Hi.')\n"
    )
    with OllamaServer([default] if there else []) as server:
        monkeypatch.setenv("OLLAMA_HOST", server.base_url)
        done = ours(write(source))
        assert done.returncode == 0, done.stderr
        assert server.last.json["model"] == default
        assert len(server.calls("/api/pull")) == (not there)


def test_melleas_default_has_the_name_that_the_server_knows(write: Any) -> None:
    default = melleas_default(SESSION, "start_session")
    source = "import sys, mellea\nmellea.start_session('openai', base_url=sys.argv[1], api_key='sk-good').chat('Hi.')"
    with OpenAIServer(models=["other", default.hf_model_name], strict=False) as server:
        done = ours(write(source), server.base_url)
        assert done.returncode == 0, done.stderr
        assert server.last.json["model"] == (default.openai_name or default.hf_model_name)


@pytest.mark.parametrize("name", ["ngram", "openai"])
def test_where_mellea_has_no_name_for_its_default_the_backends_own_counts(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    from mellea_api._cli import takeover

    default = melleas_default(SESSION, "start_session")

    def of_mellea(model_id: Any = default) -> None: ...

    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    assert takeover._default_model(of_mellea, name, {}) is None
    assert takeover._default_model(of_mellea, "ollama", {}) is not None


def test_melleas_own_model_identifiers_work(write: Any, server: OllamaServer) -> None:
    source = (
        "import mellea, inspect\n"
        "from mellea.backends import model_ids\n"
        "mellea.start_session('ollama', model_ids.IBM_GRANITE_4_MICRO_3B).chat('Hi.')\n"
    )
    done = ours(write(source))
    assert done.returncode == 0, done.stderr
    assert server.last.json["model"] == "granite4:micro"


def test_a_backend_that_mellea_does_not_know(write: Any) -> None:
    source = (
        "import mellea\n"
        "s = mellea.start_session('ngram', model_options={'max_tokens': 4, 'seed': 1})\n"
        "print('answer:', s.chat('Hi.').content)\n"
    )
    done = ours(write(source))
    assert done.returncode == 0, done.stderr
    assert "answer: " in done.stdout


def test_options_that_nobody_knows_are_passed_on(write: Any) -> None:
    source = (
        "import mellea, sys\n"
        "s = mellea.start_session('openai', 'tiny', base_url=sys.argv[1], api_key='x',\n"
        "    model_options={'brand_new': 7})\n"
        "s.chat('Hi.')\n"
    )
    with OpenAIServer(api_key=None, strict=False) as server:
        done = ours(write(source), server.base_url)
        assert done.returncode == 0, done.stderr
        assert server.last.json["brand_new"] == 7


def test_start_backend_is_ours_where_mellea_has_it(write: Any, server: OllamaServer) -> None:
    source = (
        "import sys, mellea\n"
        "if not hasattr(mellea, 'start_backend'): sys.exit(77)\n"
        "from mellea.stdlib import functional\n"
        "from mellea import start_backend\n"
        "options = {'max_tokens': 3}\n"
        "ctx, backend = start_backend('ollama', 'tiny', context_type='chat', model_options=options)\n"
        "answer, ctx = functional.chat('Hi.', ctx, backend)\n"
        "print(type(ctx).__name__, type(backend).__name__)\n"
    )
    done = ours(write(source))
    if done.returncode == 77:
        pytest.skip("this Mellea has no start_backend")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("ChatContext OllamaModelBackend\n")
    assert server.last.json["options"] == {"num_predict": 3}


def test_the_functions_look_like_melleas(write: Any) -> None:
    source = (
        "import inspect, mellea\n"
        "f = mellea.start_session\n"
        "print(f.__name__, f.__module__, inspect.signature(f), f.__doc__[:40])\n"
    )
    write(source)
    assert ours("program.py").stdout == python("program.py").stdout


def test_mellea_is_imported_by_the_program_and_not_before(write: Any) -> None:
    write("import sys; print(sorted({'mellea', 'click', 'rich'} & set(sys.modules)))")
    assert "mellea" not in ours("program.py").stdout


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_worker_processes_of_the_program_have_the_registry_too(
    write: Any, server: OllamaServer, method: str
) -> None:
    source = (
        "import multiprocessing, sys\n"
        "def ask(prompt):\n"
        "    from mellea import start_session\n"
        "    s = start_session('ollama', 'tiny', model_options={'max_tokens': 3})\n"
        "    return s.chat(prompt).content\n"
        "if __name__ == '__main__':\n"
        "    with multiprocessing.get_context(sys.argv[1]).Pool(1) as pool:\n"
        "        print(pool.map(ask, ['Hi.']))\n"
    )
    done = ours(write(source), method)
    assert done.returncode == 0, done.stderr
    assert server.last.json["options"] == {"num_predict": 3}


ASK_WHOSE = (
    "import mellea\n"
    "whose = mellea.start_session.__code__.co_filename\n"
    "assert whose.endswith('takeover.py'), whose\n"
)


def test_subprocesses_of_the_program_have_the_registry_too(write: Any) -> None:
    write(ASK_WHOSE + "print('ours')", "child.py")
    write("import subprocess, sys; subprocess.run([sys.executable, 'child.py'], check=True)")
    done = ours("program.py")
    assert (done.returncode, done.stdout) == (0, "ours\n"), done.stderr
    assert python("child.py").returncode == 1


def test_the_workers_of_a_test_run_have_the_registry_too(write: Any) -> None:
    pytest.importorskip("xdist")
    body = ASK_WHOSE.replace("\n", "\n    ")
    write("".join(f"def test_{n}():\n    {body}\n" for n in "ab"), "test_whose.py")
    done = ours("-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "2", "test_whose.py")
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout


@pytest.mark.parametrize("flag", ["-E", "-I"])
def test_flags_that_ignore_the_environment_leave_the_registry_there(
    write: Any, flag: str, tmp_path: Path
) -> None:
    write(ASK_WHOSE + "import sys; print(sys.flags.safe_path, sys.flags.no_user_site, sys.path)")
    env = {**os.environ, "PYTHONPATH": str(tmp_path / "ignored"), "PYTHONOPTIMIZE": "2"}
    done = call(sys.executable, flag, *OURS[1:], "program.py", env=env)
    assert done.returncode == 0, done.stderr
    isolated = flag == "-I"
    assert done.stdout.startswith(f"{isolated} {int(isolated)} ")
    assert "ignored" not in done.stdout


def test_without_site_there_is_no_registry_and_it_says_so(write: Any) -> None:
    write("print('ran')")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = call(sys.executable, "-S", *OURS[1:], "program.py", env=env)
    assert (done.returncode, done.stdout) == (2, "")
    assert "-S turns off" in done.stderr


def test_a_child_in_another_environment_is_left_alone(write: Any, tmp_path: Path) -> None:
    venv.create(tmp_path / "bare", with_pip=False)
    scripts = "bin" if os.name == "posix" else "Scripts"
    bare = next((tmp_path / "bare" / scripts).glob("python*"))
    write(
        "import subprocess, sys\n"
        "code = 'import sys; print(sorted(n for n in sys.modules if n.startswith(\"mellea\")))'\n"
        "subprocess.run([sys.argv[1], '-c', code], check=True)\n"
    )
    done = ours("program.py", str(bare), env={**os.environ, "PYTHONPATH": ""})
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")


def test_errors_of_the_library_are_the_programs_exceptions(write: Any, server: Any) -> None:
    source = (
        "import mellea, mellea_api\n"
        "try:\n    mellea.start_session('ollama', 'nope', pull=False)\n"
        "except mellea_api.ModelNotFoundError as error:\n    print(error.next_step)\n"
    )
    assert "ollama pull nope" in ours(write(source)).stdout


# --- what Mellea's functions give ----------------------------------------------------------------


def test_a_program_gets_the_context_that_it_gave(write: Any, server: OllamaServer) -> None:
    pytest.importorskip(BACKEND)
    source = (
        "from mellea.stdlib.context import ChatContext, SimpleContext\n"
        "from mellea.stdlib.start_backend import start_backend\n"
        "given = ChatContext()\n"
        "assert start_backend('ollama', 'tiny', ctx=given)[0] is given\n"
        "assert start_backend('ollama', 'tiny', given)[0] is given\n"
        "assert type(start_backend('ollama', 'tiny', context_type='chat')[0]) is ChatContext\n"
        "assert type(start_backend('ollama', 'tiny')[0]) is SimpleContext\n"
        "try:\n    start_backend('ollama', 'tiny', given, context_type='chat')\n"
        "except ValueError:\n    print('refused')\n"
    )
    done = ours(write(source))
    assert done.stdout == "refused\n", done.stderr


BY_HAND = """
import sys
from mellea import MelleaSession
from {module} import {cls}

def ask(backend, **options):
    return MelleaSession(backend).chat("Hi.", model_options=options).content

given = {{"max_tokens": 3, "timeout": 60}}  # as `m decompose` gives it
one = {cls}("{model}", model_options=given, base_url=sys.argv[1]{more})
assert len(given) == 2
assert isinstance(one, {cls}) and dict(one.model_options) == {{"max_tokens": 3}}
other = {cls}(model_id="{model}", base_url=sys.argv[1]{more})
ask(one), ask(other, max_tokens=4)
"""
HAND_BUILT = {
    "ollama": (OllamaServer, "mellea.backends.ollama", "OllamaModelBackend", "tiny", ""),
    "openai": (
        OpenAIServer,
        "mellea.backends.openai",
        "OpenAIBackend",
        "gpt-4o",
        ", api_key='sk-good'",
    ),
}


@pytest.mark.parametrize("name", HAND_BUILT)
def test_a_backend_that_a_program_builds_by_hand_is_the_registrys(write: Any, name: str) -> None:
    """Said once; the options mean the same as everywhere."""
    kind, module, cls, model, more = HAND_BUILT[name]
    source = BY_HAND.format(module=module, cls=cls, model=model, more=more)
    with kind(models=[model]) as server:
        done = ours(write(source), server.base_url)
        assert done.returncode == 0, done.stderr
        assert done.stderr.count(f"{cls} is built on the {name} backend") == 1
        places = {"ollama": ("options", "num_predict"), "openai": ("max_completion_tokens",)}
        sent = []
        for asked in server.calls("/api/chat" if name == "ollama" else "/v1/chat/completions"):
            value = asked.json
            for key in places[name]:
                value = value[key]
            sent.append(value)
        assert sent == [3, 4]


def test_a_subclass_that_is_built_by_hand_stays_the_programs(
    write: Any, server: OllamaServer
) -> None:
    source = (
        "from mellea import MelleaSession\n"
        "from mellea.backends.ollama import OllamaModelBackend\n"
        "class Mine(OllamaModelBackend):\n    pass\n"
        "mine = Mine('tiny')\n"
        "assert type(mine) is Mine\n"
        "import mellea_api\nmellea_api.start_session('ollama', 'tiny').chat('Hi.')\n"
        "MelleaSession(mine).chat('Hi.', model_options={'num_predict': 3})\n"
    )
    done = ours(write(source))
    assert done.returncode == 0, done.stderr
    assert "is built on" not in done.stderr
    assert server.last.json["options"] == {"num_predict": 3}


# --- as Python itself ----------------------------------------------------------------------------

SELF_PORTRAIT = """
import json, sys, os, __main__
known = {name: repr(value) for name, value in globals().items() if name not in ("json", "sys", "os")}
known = {name: text.split(" object at")[0].split(" from ")[0] for name, text in known.items()}
print(json.dumps({
    "globals": known,
    "argv": sys.argv,
    "path": sys.path,
    "main": __main__.__dict__ is globals(),
    "file": __file__,
    "flags": repr(sys.flags),
    "cwd": os.getcwd(),
    "name": __name__,
    "streams": [sys.stdout.errors, sys.stderr.errors, sys.stdin.encoding],
    "hook": sys.excepthook is sys.__excepthook__,
    "context": repr(sys.exc_info()),
}, indent=1))
"""


@pytest.mark.parametrize(
    "line",
    [
        ("program.py",),
        ("program.py", "a", "--json", "-m", "--help", "--", "-x"),
        ("./program.py", "-h"),
        ("inner/linked.py",),
        ("-m", "program"),
        ("-m", "program", "--help", "-m", "x"),
        ("-m", "package"),
        ("-m", "package.inner", "1"),
    ],
    ids=" ".join,
)
def test_the_program_sees_what_python_would_show_it(
    write: Any, tmp_path: Path, line: tuple[str, ...]
) -> None:
    write(SELF_PORTRAIT)
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "linked.py").symlink_to(tmp_path / "program.py")
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").touch()
    for name in ("__main__", "inner"):
        (tmp_path / "package" / f"{name}.py").write_text(SELF_PORTRAIT)
    mine, real = ours(*line), python(*line)
    assert mine.returncode == 0, mine.stderr
    assert json.loads(mine.stdout) == json.loads(real.stdout)


def test_safe_path_is_respected(write: Any) -> None:
    write("import sys; print(sys.path)")
    env = {**os.environ, "PYTHONSAFEPATH": "1"}
    assert ours("program.py", env=env).stdout == python("program.py", env=env).stdout


@pytest.mark.parametrize(
    "flags",
    [("-O",), ("-X", "dev", "-B"), ("-W", "error::UserWarning", "-s"), ("-P",), ("-u",)],
    ids=" ".join,
)
def test_the_flags_of_python_are_handed_on(write: Any, flags: tuple[str, ...]) -> None:
    write(
        "import sys, warnings\n"
        "print(sys.flags, sys.warnoptions, sys._xoptions, sys.path, sys.stdout.write_through)\n"
    )
    mine = call(sys.executable, *flags, *OURS[1:], "program.py")
    assert mine.returncode == 0, mine.stderr
    assert mine.stdout == python(*flags, "program.py").stdout


@pytest.mark.parametrize("body", ["print('mine')", "1 / 0", "import no_such_module"])
def test_the_environments_own_sitecustomize_runs_in_the_command_and_in_the_program(
    write: Any, tmp_path: Path, body: str
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(body)
    write("print('ran')")
    env = {**os.environ, "PYTHONPATH": str(site)}
    mine, real = ours("program.py", env=env), python("program.py", env=env)
    assert mine.returncode == real.returncode == 0
    assert mine.stderr == real.stderr * 2
    assert mine.stdout.count("mine") == real.stdout.count("mine") * 2
    write(ASK_WHOSE)
    assert ours("program.py", env=env).returncode == 0


@pytest.mark.parametrize(
    ("end", "code"), [("print('x')", 0), ("import sys; sys.exit(7)", 7), ("1 / 0", 1)]
)
def test_where_a_process_cannot_be_replaced_the_exit_code_is_handed_on(
    write: Any, end: str, code: int
) -> None:
    """On Windows, that is: here the way is taken by hand."""
    write(f"{ASK_WHOSE}{end}")
    command = (
        "import importlib\n"
        "run = importlib.import_module('mellea_api._cli.run')\n"
        "run._EXECVE = False\n"
        "from mellea_api._cli import main\n"
        "main(['run', 'program.py'])\n"
    )
    done = python("-c", command)
    assert done.returncode == code, done.stderr
    assert ("ZeroDivisionError" in done.stderr) == (end == "1 / 0")


ENDS = {
    "falls off the end": "print(1)",
    "an exit code": "import sys; sys.exit(7)",
    "an exit message": "import sys; sys.exit('bye')",
    "no exit code": "import sys; sys.exit()",
    "True": "raise SystemExit(True)",
    "an exception": "def f():\n    1 / 0\nf()",
    "a chained exception": "try:\n    1 / 0\nexcept ZeroDivisionError:\n    raise KeyError('x')",
    "an exception group": "raise ExceptionGroup('many', [ValueError(1), TypeError(2)])",
    "a syntax error": "x = = 1",
    "a recursion": "def f():\n    f()\ntry:\n    f()\nexcept RecursionError:\n    print('deep')",
    "an own excepthook": "import sys\n"
    "sys.excepthook = lambda t, v, tb: print(t, tb.tb_frame.f_code.co_name)\nraise ValueError(1)",
    "an exit handler": "import atexit\natexit.register(lambda: print('bye', __name__))\nraise ValueError",
    "a thread that goes on": "import threading, time\n"
    "def late():\n    time.sleep(0.3); print('late', __name__)\nthreading.Thread(target=late).start()",
    "an interrupt": "raise KeyboardInterrupt",
    "os._exit": "import os; os._exit(9)",
    "a missing import": "import no_such_module",
}


@pytest.mark.parametrize("end", ENDS)
def test_the_program_ends_as_under_python(write: Any, end: str) -> None:
    write(ENDS[end])
    mine, real = ours("program.py"), python("program.py")
    assert mine.stdout == real.stdout
    assert mine.stderr == real.stderr
    assert mine.returncode == real.returncode


def test_a_module_that_is_not_there(write: Any) -> None:
    mine, real = ours("-m", "no_such_module"), python("-m", "no_such_module")
    assert (mine.returncode, mine.stderr) == (real.returncode, real.stderr)


@pytest.mark.parametrize("line", [("-m",), ("nothing.py",), ("-mthis",), (".",)], ids=" ".join)
def test_what_cannot_be_run_is_told_as_python_tells_it(
    write: Any, tmp_path: Path, line: tuple[str, ...]
) -> None:
    write("")
    mine, real = ours(*line), python(*line)
    assert (mine.returncode, mine.stdout, mine.stderr) == (
        real.returncode,
        real.stdout,
        real.stderr,
    )


@pytest.mark.parametrize("line", [(), ("-O", "program.py"), ("--nothing", "program.py")])
def test_flags_and_an_empty_line_are_wrong_usage(write: Any, line: tuple[str, ...]) -> None:
    write("print('ran')")
    done = ours(*line)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Usage: mellea-api run")


BELONGINGS = """
import dataclasses, inspect, multiprocessing, pickle, sys, typing

@dataclasses.dataclass
class Point:
    x: "int"
    y: typing.ClassVar[int] = 3

def double(point):
    return Point(point.x * 2)

if __name__ == "__main__":
    assert pickle.loads(pickle.dumps(Point(1))) == Point(1)
    assert pickle.loads(pickle.dumps(double)) is double
    assert typing.get_type_hints(Point)["x"] is int
    assert inspect.getsource(double).startswith("def double")
    assert [field.name for field in dataclasses.fields(Point)] == ["x"]
    for method in sys.argv[1:]:
        with multiprocessing.get_context(method).Pool(1) as pool:
            print(method, pool.map(double, [Point(1), Point(2)]))
"""


def test_pickles_dataclasses_and_processes_of_the_program_work(write: Any) -> None:
    methods = ("spawn", "forkserver", "fork") if os.name == "posix" else ("spawn",)
    done = ours(write(BELONGINGS), *methods)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [f"{each} [Point(x=2), Point(x=4)]" for each in methods]


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_ctrl_c_ends_the_program_as_under_python(write: Any) -> None:
    write("import time\nprint('ready', flush=True)\ntime.sleep(60)")

    def interrupted(*line: str) -> tuple[int, str]:
        process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        err = process.communicate(timeout=20)[1]
        return process.returncode, err

    assert interrupted(*OURS, "program.py") == interrupted(sys.executable, "program.py")
