"""A run whose folder is removed while it is trained ends in an error, and leaves nothing that looks like a run."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mmssl_cli.runs.folder import RunFolder
from tests.conftest import Answer
from tests.helpers.model_cases import write_toy

SMALL = "--dataset toy --model mf --embedding-dim 8 --batch-size 32 --ks 3,5 --select-on recall@5 --epochs 2"


@pytest.mark.parametrize("before", ["write_metrics", "write_state", "save_model", "write_per_user", "write_result"])
def test_the_missing_folder_is_named(
    cli: Callable[..., Answer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str
) -> None:
    write_toy(tmp_path / "data")
    real = getattr(RunFolder, before)

    def removed_first(run: RunFolder, content: object) -> None:
        shutil.rmtree(run.path)
        real(run, content)

    monkeypatch.setattr(RunFolder, before, removed_first)
    answer = cli("train", *SMALL.split())
    assert answer.code == 1
    assert "Error: The folder runs/" in answer.words
    assert "was removed, or its config.toml, while the run was trained; train the run again." in answer.words
    assert "Finished" not in answer.words
    assert answer.out == ""
    assert list(Path("runs").iterdir()) == []


def test_a_folder_removed_at_the_very_end(
    cli: Callable[..., Answer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_toy(tmp_path / "data")
    real = RunFolder.write_result

    def removed_after(run: RunFolder, result: dict[str, object]) -> None:
        real(run, result)
        shutil.rmtree(run.path)

    monkeypatch.setattr(RunFolder, "write_result", removed_after)
    answer = cli("train", *SMALL.split())
    assert (answer.code, answer.out) == (1, "")
    assert "was removed" in answer.words
