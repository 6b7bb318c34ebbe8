"""Terminals and pipes of other encodings than UTF-8: nothing crashes, and what they lack is written in ASCII."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mmssl_cli.app import app
from mmssl_cli.console.lines import ascii_of
from tests.conftest import ROOT
from tests.helpers.inline_pool import train_inline
from tests.helpers.model_cases import write_toy
from tests.helpers.shared_folder import made_once

SMALL = "--dataset toy --embedding-dim 8 --batch-size 32 --ks 3,5 --select-on recall@5 --epochs 1 --device cpu"


@pytest.mark.parametrize(
    ("ch", "shown"),
    [("ζ", "zeta"), ("±", "+/-"), ("─", "-"), ("│", "|"), ("╭", "+"), ("é", "e"), ("₁", "1"), ("漢", "\\u6f22")],
)
def test_equivalents_in_ascii(ch: str, shown: str) -> None:
    assert ascii_of(ch) == shown


SCRIPT = """
import sys
from mmssl_cli.app import main

for line in sys.argv[1:]:
    print(end="\\f", flush=True)
    try:
        main(line.split())
    except SystemExit as end:
        if end.code:
            raise
"""
SWEEP = f"sweep toy --param zeta=0,1 {SMALL.partition('toy')[2]} --runs 2"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the toy data and the runs of SWEEP, but for the last."""
    return made_once(tmp_path_factory, "encodings", _train)


def _train(folder: Path) -> None:
    write_toy(folder / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        train_inline(patch)
        answer = CliRunner().invoke(app, SWEEP.split(), prog_name="mmssl")
    assert answer.exit_code == 0, answer.stderr
    shutil.rmtree(max(path for path in (folder / "runs").iterdir() if (path / "result.json").exists()))


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "ascii"])
def test_commands_write_to_any_encoding(tmp_path: Path, trained: Path, encoding: str) -> None:
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    lines = [SWEEP]
    if encoding == "latin-1":
        lines += ["--help", "train --help", "models", "models mmssl", "datasets", "runs", "evaluate latest"]
        lines += ["runs --json", "report toy"]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *lines],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": encoding},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode(encoding)
    before, *shown = done.stdout.decode(encoding).split("\f")
    assert before == "" and len(shown) == len(lines) and all(shown)
    assert "\\u" not in "".join(shown)
    assert "zeta" in shown[0]
    assert "±" in shown[0] or "+/-" in shown[0]
    assert "1 to train" in done.stderr.decode(encoding)
    if encoding == "latin-1":
        assert json.loads(shown[-2])
        assert "report" in shown[-1]
