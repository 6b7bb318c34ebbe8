"""Shared by the snapshots: the names to test, one small training run, and lists of names kept as JSON.

`UPDATE_SNAPSHOTS=1 python -m pytest tests/snapshots` writes the JSON files anew; delete them first to drop entries of
commands or models that are gone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from mmssl_cli.app import app
from mmssl_cli.config import settings_class

HERE = Path(__file__).parent


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test with an argument `command` or `model` once for each that the program knows."""
    if "command" in metafunc.fixturenames:
        group = typer.main.get_command(app)
        metafunc.parametrize("command", group.list_commands(typer.Context(group)))
    if "model" in metafunc.fixturenames:
        models = json.loads(CliRunner().invoke(app, ["models", "--json"]).stdout)
        metafunc.parametrize("model", [model["model"] for model in models])


@pytest.fixture
def assert_kept() -> Callable[..., None]:
    """Compare names with those kept under a key of a JSON file, and fail with what went and what came."""

    def check(file: str, key: str, names: Iterable[str]) -> None:
        path, now = HERE / file, sorted(names)
        kept: dict[str, list[str]] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        if os.environ.get("UPDATE_SNAPSHOTS"):
            kept[key] = now
            path.write_text(json.dumps(kept, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        before = kept.get(key, [])
        gone, new = sorted(set(before) - set(now)), sorted(set(now) - set(before))
        assert not gone and not new, f"{key}: gone: {gone or 'nothing'}; new: {new or 'nothing'}"

    return check


@pytest.fixture(scope="session")
def train(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Train a model on the demo in a folder of runs of its own, and return the run."""

    def run(model: str, *, epochs: int, **settings: Any) -> Path:
        runs = tmp_path_factory.mktemp(model) / "runs"
        line: list[Any] = ["train", "--dataset", "demo", "--model", model, "--device", "cpu"]
        line += ["--epochs", epochs] if "epochs" in settings_class(model).model_fields else []
        line += ["--data-dir", demo.parent, "--runs-dir", runs]
        line += [word for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", value)]
        answer = CliRunner().invoke(app, [str(word) for word in line])
        assert answer.exit_code == 0, answer.output
        [folder] = runs.iterdir()
        return folder

    return run


@pytest.fixture(scope="session")
def run(train: Callable[..., Path]) -> Path:
    """Two epochs of MF, trained once; only to be read."""
    return train("mf", epochs=2)
