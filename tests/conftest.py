"""Shared by all tests: the command line as a function, and a prepared data set small enough for seconds."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
_OURS = ("MMSSL_", "NO_COLOR", "FORCE_COLOR", "GITHUB_ACTIONS", "PY_COLORS", "TERMINAL_WIDTH", "COLUMNS")


@dataclass(frozen=True)
class Answer:
    """The answer to a command line."""

    code: int
    out: str
    err: str

    @property
    def words(self) -> str:
        """Both streams without line breaks or frames, to look for a sentence in."""
        return re.sub(r"[\s│╭╮╰╯─]+", " ", self.out + " " + self.err)


def pytest_configure() -> None:
    # Handle Ctrl-C as on a terminal, also where a shell started the tests in the background and ignores it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings of whoever runs the tests do not reach them."""
    for name in list(os.environ):
        if name.startswith(_OURS):
            monkeypatch.delenv(name)


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Answer]:
    """Run `mmssl ARGUMENTS` in this process, in an empty folder."""
    from typer.testing import CliRunner

    from mmssl_cli.app import app

    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Answer:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="mmssl")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Answer(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture
def process(tmp_path: Path) -> Callable[..., Answer]:
    """Run `mmssl ARGUMENTS` as a user does: a process of its own, in an empty folder."""

    def run(*arguments: object, **environment: str) -> Answer:
        done = subprocess.run(
            [sys.executable, "-m", "mmssl_cli", *map(str, arguments)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def inline_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of commands are trained in this process, and their curves are not drawn."""
    from tests.helpers.inline_pool import train_inline

    train_inline(monkeypatch)


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The prepared demo, made once; only to be read."""
    from pipelines.prepare import prepare

    folder = tmp_path_factory.mktemp("demo")
    prepare("demo", data_dir=folder)
    return folder / "demo"
