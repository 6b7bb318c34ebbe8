"""One process at a time holds a lock; whatever becomes of it, the next one can."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.errors import InputError
from pipelines.io.locks import LockedError, held, is_held
from tests.conftest import ROOT

COUNT = """
import sys
from pathlib import Path
from pipelines.io.locks import LockedError, held
lock, counter = Path(sys.argv[1], "lock"), Path(sys.argv[1], "counter")
left = 200
while left:
    try:
        with held(lock, "it", passing=True):
            counter.write_text(str(int(counter.read_text()) + 1))
        left -= 1
    except LockedError:
        pass
"""


def test_a_lock_that_goes_with_its_holder_is_never_held_twice(tmp_path: Path) -> None:
    """Each process counts up 200 times; a count is lost if two ever are at it."""
    (tmp_path / "counter").write_text("0")
    children = [subprocess.Popen([sys.executable, "-c", COUNT, str(tmp_path)], cwd=ROOT) for _ in range(3)]
    assert [child.wait() for child in children] == [0, 0, 0]
    assert (tmp_path / "counter").read_text() == "600"
    assert [path.name for path in tmp_path.iterdir()] == ["counter"]


@pytest.mark.parametrize("mode", [0o644, 0o444])
def test_who_holds_a_lock_is_said_while_it_is_held(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "lock"
    assert not is_held(path) and not path.exists()
    with held(path, "Run a"):
        path.chmod(mode)
        assert is_held(path)
        with pytest.raises(LockedError, match=rf"^Run a is being written by process {os.getpid()}; wait until"):
            held(path, "Run a").__enter__()
        assert is_held(path)
    assert not is_held(path) and path.read_bytes() == b""


def test_a_lock_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"Cannot write .*lock"), held(tmp_path / "file" / "lock", "it"):
        pass
