"""A model of one's own in a notebook or a long session: mistyped, defined anew, changed on disk."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import mmssl_cli as mmssl
from mmssl_cli.config import own_names
from tests.helpers.own_model import FITTED

pytestmark = pytest.mark.usefixtures("forgotten_models")


@pytest.mark.parametrize("name", ["my_good:Mx", "my_absent:Q", "my_broken:M"])
def test_a_mistyped_name_does_not_stay(demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my_good.py").write_text(FITTED)
    Path("my_broken.py").write_text("def (")
    with pytest.raises(mmssl.UsageError, match=name.partition(":")[0]):
        mmssl.train(name, mmssl.load_dataset(demo))
    assert not os.environ[own_names.VARIABLE]
    with pytest.raises(mmssl.UsageError, match="did you mean epochs"):
        mmssl.train("mf", mmssl.load_dataset(demo), epoch=2)


def test_a_model_that_a_notebook_defines_anew_is_trained_anew(demo: Path, tmp_path: Path) -> None:
    cells = (
        "import sys, mmssl_cli as mmssl\n"
        "del sys.modules['__main__'].__file__\n"
        f"data = mmssl.load_dataset({str(demo)!r})\n"
        "for sign in ('', '-', ''):\n"
        f"    cell = {FITTED!r}.replace('(popular)', '(' + sign + 'popular)')\n"
        "    exec(compile(cell, '<cell>', 'exec'), globals())\n"
        "    print(mmssl.compare(data, ['__main__:M'], ks=(20,))['recall@20'].item(), len(mmssl.list_runs()))\n"
    )
    (tmp_path / "cells.py").write_text(cells)
    done = subprocess.run([sys.executable, "cells.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    first, second, third = (line.split() for line in done.stdout.splitlines())
    assert float(first[0]) > float(second[0]) and first[0] == third[0]
    assert [first[1], second[1], third[1]] == ["1", "2", "2"]


def test_a_file_that_has_changed_since_it_was_imported_is_told(
    demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my_model.py").write_text(FITTED)
    data = mmssl.load_dataset(demo)
    mmssl.train("my_model:M", data)
    Path("my_model.py").write_text(FITTED + "# changed\n")
    with pytest.warns(UserWarning, match=r"my_model\.py has changed since it was imported.*importlib\.reload"):
        mmssl.train("my_model:M", data)
