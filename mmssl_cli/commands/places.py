"""Where data sets and runs are, as flags of a command that is told to a reader."""

from __future__ import annotations

import shlex
from pathlib import Path

from mmssl_cli.commands.options import DEFAULT_DATA_DIR, DEFAULT_RUNS_DIR


def place_flags(data_dir: Path, runs_dir: Path) -> str:
    """`` --data-dir D --runs-dir R``, to append to a command; of the usual places nothing."""
    given = (("--data-dir", data_dir, DEFAULT_DATA_DIR), ("--runs-dir", runs_dir, DEFAULT_RUNS_DIR))
    return "".join(f" {flag} {shlex.quote(str(path))}" for flag, path, usual in given if path != usual)
