"""Faulty and unusual inputs, a folder each under tests/fixtures/cases.

``cmd``: lines to run in a copy of the folder, `mmssl ...` or `python SCRIPT ...`. ``expected`` (TOML) describes the
last: ``code``, the exit code; ``says``, parts of its output; ``counts``, users, items and interactions that were
prepared; ``modalities``, name -> dimensions; ``title`` of the first item.
"""

from __future__ import annotations

import os
import runpy
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.prepared import read_prepared
from pipelines.prepared.manifest import read_manifest
from tests.conftest import ROOT, Answer

CASES = sorted(path.parent for path in (ROOT / "tests/fixtures/cases").glob("*/cmd"))


def test_cases_are_found() -> None:
    assert len(CASES) > 20


@pytest.mark.usefixtures("inline_runs")
@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
def test_a_case_ends_as_expected(cli: Callable[..., Answer], tmp_path: Path, case: Path) -> None:
    shutil.copytree(case, tmp_path, dirs_exist_ok=True)
    expected = tomllib.loads((case / "expected").read_text(encoding="utf-8"))
    lines = [shlex.split(line) for line in (case / "cmd").read_text().splitlines()]
    *before, answer = [_run(cli, tmp_path, *line) for line in lines]
    assert [earlier.code for earlier in before] == [0] * len(before)
    assert answer.code == expected.pop("code"), answer.words
    assert [part for part in expected.pop("says", []) if part not in answer.words] == [], answer.words
    assert "\x1b" not in answer.out + answer.err
    if answer.code:
        assert answer.err.count("Error") == 1 and "bug" not in answer.words
    assert _prepared(tmp_path / "data" / "shop", expected) == expected


def _run(cli: Callable[..., Answer], folder: Path, program: str, *arguments: str) -> Answer:
    if program == "mmssl":
        return cli(*arguments)
    if arguments == ("make.py",):
        runpy.run_path(str(folder / "make.py"))
        return Answer(0, "", "")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return Answer(done.returncode, done.stdout, done.stderr)


def _prepared(folder: Path, wanted: dict[str, Any]) -> dict[str, Any]:
    """What was prepared, of the kinds that ``wanted`` has."""
    found: dict[str, Any] = {}
    if "counts" in wanted:
        counts = read_manifest(folder).counts
        found["counts"] = {name: getattr(counts, name) for name in wanted["counts"]}
    if "modalities" in wanted:
        found["modalities"] = {name: entry.dim for name, entry in read_manifest(folder).modalities.items()}
    if "title" in wanted:
        found["title"] = read_prepared(folder).items["title"].iloc[0]
    return found
