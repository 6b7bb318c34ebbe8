"""The scripts and the notebook of examples/, and the README's Python, run from a copy in a folder of their own."""

from __future__ import annotations

import json
import re
import runpy
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import mmssl_cli as mmssl
from mmssl_cli.config import own_names
from tests.conftest import ROOT

EXAMPLES = ROOT / "examples"
NOTEBOOKS = sorted(path.name for path in EXAMPLES.glob("*.ipynb"))
SCRIPTS = sorted(path.name for path in EXAMPLES.glob("*.py"))


@pytest.fixture
def folder(tmp_path: Path, demo: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of examples/ as the current folder, beside the data set demo; what a script imports is forgotten."""
    place = shutil.copytree(EXAMPLES, tmp_path / "examples")
    shutil.copytree(demo, place / "data" / "demo")
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "path", [str(place), *sys.path])
    monkeypatch.setenv(own_names.VARIABLE, "")
    yield place
    sys.modules.pop("own_model", None)


def _tests(folder: Path) -> dict[str, list[float]]:
    """Return model -> Recall@20 of its runs."""
    found: dict[str, list[float]] = {}
    for path in sorted((folder / "runs").iterdir()):
        if (path / "result.json").is_file():
            result = json.loads((path / "result.json").read_text(encoding="utf-8"))
            found.setdefault(result["model"], []).append(result["test"]["recall@20"])
    return found


def test_there_are_three_scripts_and_a_notebook() -> None:
    assert len(SCRIPTS) >= 3 and NOTEBOOKS
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert all(f"examples/{name}" in readme for name in (*SCRIPTS, *NOTEBOOKS))


@pytest.mark.slow
def test_first_steps(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path("first_steps.py", run_name="__main__")
    said = capsys.readouterr().out
    [nearest] = re.findall(r"^nearest to item-0003: (.*)$", said, re.MULTILINE)
    [table] = re.findall(r"^   rank +item +score\n((?:\d .*\n){5})", said, re.MULTILINE)[:1]
    assert re.findall(r"item-\d+", nearest) == re.findall(r"item-\d+", table)
    assert _tests(folder)["mmssl"][0] > 0.1


@pytest.mark.slow
def test_own_data(folder: Path) -> None:
    runpy.run_path("own_data.py", run_name="__main__")
    data = mmssl.load_dataset("shop")
    assert sorted(data.modalities) == ["textual", "visual"] and data.num_items > 70
    [of_content], [of_ids] = _tests(folder)["vbpr"], _tests(folder)["mf"]
    assert of_content > of_ids  # what users click on shows in pictures and titles


@pytest.mark.slow
def test_own_model(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path("own_model.py", run_name="__main__")
    found = _tests(folder)
    assert min(found["own_model:Taste"]) > max(found["pop"])
    assert "user-0007" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_cells_of_a_notebook_run_in_their_order(folder: Path, name: str) -> None:
    notebook = json.loads((folder / name).read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4
    names: dict[str, object] = {"__name__": "__main__"}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), name, "exec"), names)
    assert set(_tests(folder)) == {"lightgcn", "vbpr"}


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_holds_no_outputs(name: str) -> None:
    for cell in json.loads((EXAMPLES / name).read_text(encoding="utf-8"))["cells"]:
        assert cell["source"]
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"], cell["metadata"]) == ([], None, {})


@pytest.mark.slow
def test_the_python_of_the_readme(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    [code] = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    code = code.replace("epochs=20", "epochs=1").replace("runs=3", "runs=1, epochs=1")
    assert "epochs=1)" in code and "runs=1" in code
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)
    assert isinstance(names["run"], mmssl.Run)
    assert names["run"].settings["layers"] == 2
    assert set(_tests(folder)) == {"mmssl", "lightgcn"}
