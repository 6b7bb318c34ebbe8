"""docs/adding-a-model.md, followed to the letter in a copy of the program."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.helpers.followed_document import FollowedDocument

DOCUMENT = FollowedDocument("adding-a-model.md")


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A copy of both packages with the document's file and line added."""
    return DOCUMENT.extend(tmp_path / "program", "mmssl_cli/config/registry.py", "MODELS: ")


@pytest.mark.slow
def test_one_file_and_one_line_make_a_model(program: Path, tmp_path: Path, demo: Path) -> None:
    shutil.copytree(demo, tmp_path / "data" / "demo")
    answers = DOCUMENT.run("That is all", tmp_path, program)
    assert list(answers) == ["models", "train", "evaluate", "recommend"]
    listed, _, evaluated, recommended = answers.values()
    assert "bias-scale" in listed and "Factor on the items' biases in the score." in listed
    assert "0.005" in next(line for line in listed.splitlines() if line.startswith("lr "))
    assert "user-0007" in recommended
    assert 0 < json.loads(evaluated)["metrics"]["recall@20"] < 1
    [run] = (tmp_path / "runs").glob("*biased-mf*")
    config = (run / "config.toml").read_text(encoding="utf-8")
    assert 'model = "biased-mf"' in config and "bias-scale = 0.5" in config
