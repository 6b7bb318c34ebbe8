"""docs/adding-a-model.md, followed to the letter in a copy of the program."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

DOCUMENT = (ROOT / "docs" / "adding-a-model.md").read_text(encoding="utf-8")


def _block(after: str, language: str) -> str:
    """Return the first block of code in a language below a heading."""
    _, _, text = DOCUMENT.partition(f"\n## {after}\n")
    found = re.search(rf"```{language}\n(.*?)```", text, re.DOTALL)
    assert found, f"no {language} below {after}"
    return found[1]


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A copy of both packages with the document's file and line added."""
    copy = tmp_path / "program"
    for name in ("mmssl_cli", "pipelines"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "datasets.toml", copy)
    [path] = re.findall(r"^`(mmssl_cli/models/\w+\.py)` holds", DOCUMENT, re.MULTILINE)
    assert not (copy / path).exists()
    (copy / path).write_text(_block("The file", "python"), encoding="utf-8")
    registry = copy / "mmssl_cli/config/registry.py"
    lines = registry.read_text(encoding="utf-8").splitlines(keepends=True)
    end = lines.index("}\n", next(at for at, line in enumerate(lines) if line.startswith("MODELS: ")))
    lines.insert(end, _block("The line", "python"))
    registry.write_text("".join(lines), encoding="utf-8")
    return copy


@pytest.mark.slow
def test_one_file_and_one_line_make_a_model(program: Path, tmp_path: Path, demo: Path) -> None:
    shutil.copytree(demo, tmp_path / "data" / "demo")
    commands = _block("That is all", "bash").splitlines()
    assert [line.split()[1] for line in commands] == ["models", "train", "evaluate", "recommend"]

    answers = []
    for line in commands:
        done = subprocess.run(
            [sys.executable, "-m", "mmssl_cli", *line.split()[1:]],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(program)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, f"{line}: {done.stderr}"
        answers.append(done.stdout)

    listed, _, evaluated, recommended = answers
    assert "bias-scale" in listed and "Factor on the items' biases in the score." in listed
    assert "0.005" in next(line for line in listed.splitlines() if line.startswith("lr "))
    assert "user-0007" in recommended
    assert 0 < json.loads(evaluated)["metrics"]["recall@20"] < 1
    [run] = (tmp_path / "runs").glob("*biased-mf*")
    config = (run / "config.toml").read_text(encoding="utf-8")
    assert 'model = "biased-mf"' in config and "bias-scale = 0.5" in config
