"""The command line as a whole: help, errors and exit codes."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mmssl_cli import __version__
from mmssl_cli.app import COMMANDS
from mmssl_cli.console.errors import explain
from pipelines.errors import InputError, UsageError
from tests.conftest import ROOT, Answer

Run = Callable[..., Answer]
HEAVY = ("torch", "pandas", "pyarrow", "sklearn", "scipy", "numpy", "matplotlib", "pydantic")
SLOW = ("torch", "pandas", "scipy", "matplotlib")


def _fail_with(monkeypatch: pytest.MonkeyPatch, problem: BaseException) -> None:
    """Let `mmssl models` raise ``problem``."""
    import types

    module = types.ModuleType("failing")

    def models() -> None:
        raise problem

    module.models = models  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mmssl_cli.commands.models", module)


def test_help_lists_every_command_without_importing_anything_heavy() -> None:
    script = (
        "import sys; from mmssl_cli.app import main\n"
        "try: main(['--help'])\n"
        f"except SystemExit as end: print(end.code, sorted(set(sys.modules) & set({HEAVY!r})))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 []"
    for command in COMMANDS:
        assert f" {command} " in done.stdout


@pytest.mark.parametrize(
    "words",
    [
        ("compare", "--models", "nope"),
        ("compare", "--models", "mf", "--dry-run"),
        ("plugin", "--models", "nope"),
        ("ablate", "--variant", "nope"),
        ("controls", "--models", "nope"),
        ("sparsity", "--models", "nope"),
        ("embeddings", "nope", "--out", "vectors"),
        ("analyze", "nope"),
        ("curves", "nope"),
        ("report", "--dataset", "nope"),
        ("sweep", "--param", "nope=1"),
    ],
)
def test_an_error_or_a_dry_run_waits_for_nothing_heavy(words: tuple[str, ...], demo: Path, tmp_path: Path) -> None:
    script = (
        "import sys; from mmssl_cli.app import main\n"
        f"try: main({list(words)!r})\n"
        f"except SystemExit as end: print(end.code, sorted(set(sys.modules) & set({SLOW!r})))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MMSSL_DATA_DIR": str(demo.parent)}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == f"{0 if '--dry-run' in words else 2} []"


def test_a_light_command_looks_for_no_plugins_of_pydantic() -> None:
    code = (
        "import importlib.metadata as metadata, sys\n"
        "groups, found = [], metadata.entry_points\n"
        "metadata.entry_points = lambda **given: groups.append(given['group']) or found(**given)\n"
        "from mmssl_cli.app import main\n"
        "try: main(['models', '--json'])\n"
        "except SystemExit as end: print(end.code, groups, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr == "0 ['mmssl.models']\n"


@pytest.mark.parametrize("own", [None, "7"])
def test_threads_spin_briefly_unless_told_otherwise(own: str | None) -> None:
    script = (
        "import os; from mmssl_cli.app import main\n"
        "try: main(['--version'])\n"
        "except SystemExit: print(os.environ['GOMP_SPINCOUNT'])"
    )
    environment = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    environment |= {"GOMP_SPINCOUNT": own} if own else {}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == (own or "3000")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_has_an_example(cli: Run, command: str) -> None:
    answer = cli(command, "--help")
    assert answer.code == 0, answer.err
    assert "Example" in answer.out
    assert f"mmssl {command}" in answer.words.split("Example", 1)[1]


def test_version(process: Run) -> None:
    answer = process("--version")
    assert (answer.code, answer.out) == (0, f"mmssl {__version__}\n")


def test_no_arguments_show_the_help_and_count_as_a_wrong_command_line(cli: Run) -> None:
    answer = cli()
    assert answer.code == 2
    assert "Commands" in answer.out + answer.err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["trian"], "Did you mean 'train'"),
        (["train", "--detaset", "demo"], "--dataset"),
        (["train", "--runs", "zero"], "--runs"),
        (["train", "--runs", "0"], "--runs"),
        (["train", "demo", "extra"], "extra"),
        (["--nothing"], "--nothing"),
    ],
)
def test_a_wrong_command_line_is_one_sentence_and_code_2(cli: Run, arguments: list[str], expected: str) -> None:
    answer = cli(*arguments)
    assert answer.code == 2
    assert answer.err.startswith("Error: ") and answer.err.count("\n") == 1
    assert expected in answer.err
    assert "--help" in answer.err
    assert answer.out == ""


@pytest.mark.parametrize(
    ("problem", "code", "expected"),
    [
        (InputError("The file x is torn."), 1, "Error: The file x is torn.\n"),
        (UsageError("There is no y."), 2, "Error: There is no y.\n"),
        (
            PermissionError(errno.EACCES, "Permission denied", "runs"),
            1,
            "Error: Cannot use runs: permission denied.\n",
        ),
        (
            OSError(errno.ENOSPC, "No space left on device", "x.npz"),
            1,
            "Error: Cannot write x.npz: the disk is full",
        ),
        (MemoryError(), 1, "Error: Out of memory; try a smaller --batch-size"),
        (ValueError("odd"), 1, "Error: This is a bug in mmssl (ValueError: odd); run the command with -v"),
        (BrokenPipeError(), 1, ""),
    ],
)
def test_an_error_is_one_sentence_and_a_code(
    cli: Run, monkeypatch: pytest.MonkeyPatch, problem: Exception, code: int, expected: str
) -> None:
    _fail_with(monkeypatch, problem)
    answer = cli("models")
    assert answer.code == code
    assert answer.err.startswith(expected) and answer.err.count("\n") <= 1
    assert "Traceback" not in answer.err


@pytest.mark.parametrize("arguments", [["-v", "models"], ["models", "-v"], ["models", "--verbose"]])
def test_verbose_shows_the_traceback(cli: Run, monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> None:
    _fail_with(monkeypatch, ValueError("odd"))
    answer = cli(*arguments)
    assert answer.code == 1
    assert "Traceback" in answer.err and answer.err.splitlines()[-1].startswith("Error: This is a bug")


def test_verbosity_does_not_outlive_its_command(cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    _fail_with(monkeypatch, ValueError("odd"))
    cli("-v", "models")
    assert "Traceback" not in cli("models").err


def test_an_interrupt_ends_with_a_line_and_code_130(cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    _fail_with(monkeypatch, KeyboardInterrupt())
    answer = cli("models")
    assert (answer.code, answer.err) == (130, "Interrupted.\n")


def test_an_interrupt_in_a_finaliser_is_not_swallowed() -> None:
    script = (
        "import os, signal, sys, weakref\n"
        "from mmssl_cli import app\n"
        "class Thing: pass\n"
        "def called():\n"
        "    thing = Thing()\n"
        "    weakref.finalize(thing, lambda: os.kill(os.getpid(), signal.SIGTERM) or [0] * 10**6)\n"
        "    del thing\n"
        "    import time\n"
        "    time.sleep(60)\n"
        "app.LazyCommand.load = lambda self: called()\n"
        "app.main(['models'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=50, check=False
    )
    assert (done.returncode, done.stderr) == (130, "Interrupted.\n")


def test_a_sentence_with_brackets_is_printed_as_it_is(cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    _fail_with(monkeypatch, InputError("Expected [users, dim], got [bold]."))
    assert cli("models").err == "Error: Expected [users, dim], got [bold].\n"


def test_out_of_memory_on_the_device_is_known_by_its_name() -> None:
    class OutOfMemoryError(RuntimeError):
        pass

    assert "Out of memory" in explain(OutOfMemoryError("CUDA"))[0]


def test_a_closed_pipe_is_silent() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "mmssl_cli", "--help"],
        cwd=ROOT,
        stdout=writer,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writer)
    assert done.stderr == b""


def test_output_is_plain_when_it_is_no_terminal(process: Run) -> None:
    for answer in (process("--help"), process("train", "--help"), process("trian")):
        assert "\x1b" not in answer.out + answer.err


def _in_terminal(folder: Path, *arguments: str, **environment: str) -> str:
    """Return the output of `mmssl ARGUMENTS` on a terminal."""
    pty = pytest.importorskip("pty", reason="pseudo-terminals are a thing of Unix")
    reader, writer = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "mmssl_cli", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", **environment},
        stdin=subprocess.DEVNULL,
        stdout=writer,
        stderr=writer,
    ) as running:
        os.close(writer)
        written = b""
        # Reading a terminal whose other side is closed is an error on Linux, and the end elsewhere.
        try:
            while part := os.read(reader, 4096):
                written += part
        except OSError:
            pass
        running.wait(timeout=60)
    os.close(reader)
    return written.decode()


def test_no_color_is_respected_on_a_terminal(tmp_path: Path) -> None:
    red = "\x1b[1;31m"
    assert red in _in_terminal(tmp_path, "trian")
    plain = _in_terminal(tmp_path, "trian", NO_COLOR="1")
    assert "No such command" in plain
    assert "\x1b[1;31m" not in plain and "\x1b[31m" not in plain


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_is_printed(process: Run, shell: str) -> None:
    answer = process("--show-completion", shell, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert answer.code == 0
    assert "_MMSSL_COMPLETE" in answer.out


def test_completion_knows_commands_flags_and_choices(process: Run) -> None:
    def complete(line: str, word: int) -> list[str]:
        asked = {"_MMSSL_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(word)}
        return process(**asked).out.split()

    assert complete("mmssl tr", 1) == ["train"]
    assert complete("mmssl train --graph-t", 2) == ["--graph-topk"]
    assert complete("mmssl train --variant w/o-", 3) == ["w/o-ASL", "w/o-CL", "w/o-GT"]
