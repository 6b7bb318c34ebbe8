"""Exit codes: 0 for success, 2 for a wrong command line or setting, 1 for any other failure."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Answer

Cli = Callable[..., Answer]

# In the folder of these command lines lie `data/demo`, prepared; `torn/demo`, with a damaged manifest;
# `runs`, with one run of MF; `torn-runs`, with a damaged one; and `file`, an ordinary file.
CASES = [
    # The program
    ("", 2),
    ("--version", 0),
    ("--help", 0),
    ("nosuchcommand", 2),
    # Preparing
    ("prep demo", 0),
    ("prep demo --check", 0),
    ("prep demo --check --data-dir torn", 1),
    ("prep tiktok --check", 1),
    ("prep nosuchdata", 2),
    ("prep mine --interactions file --split nosuchsplit", 2),
    ("prep demo --k-core few", 2),
    ("prep demo --data-dir file", 1),
    ("prep mine --from missing", 1),
    ("prep mine --from file", 1),
    ("prep mine --interactions missing.csv", 1),
    ("prep amazon-baby --offline", 1),
    ("export demo --format recbole --out exported", 0),
    ("export demo --format nosuchformat", 2),
    ("export demo --format recbole --out file", 1),
    ("export nosuchdata --format recbole", 2),
    ("export demo --format recbole --data-dir torn", 1),
    ("datasets", 0),
    ("datasets --data-dir torn", 0),
    # Training
    ("train --model nosuchmodel", 2),
    ("train --dataset nosuchdata", 2),
    ("train --variant nosuchvariant", 2),
    ("train --modalities nosuchmodality", 2),
    ("train --model mf --heads 2", 2),
    ("train --lr fast", 2),
    ("train --config missing.toml", 1),
    ("train --config wrong.toml", 2),
    ("train --resume nosuchrun", 2),
    ("train --model mf --data-dir torn", 1),
    ("train --model mf --runs-dir file", 1),
    ("tune", 2),
    ("tune nosuchmodel", 2),
    ("tune mf --trials 0", 2),
    ("tune mf --ranges missing.toml", 1),
    ("tune mf --trials 1 --epochs 1 --out file", 1),
    # Results
    ("runs", 0),
    ("runs --runs-dir nosuchfolder", 0),
    ("runs --runs-dir torn-runs", 0),
    ("evaluate latest", 0),
    ("evaluate", 2),
    ("evaluate nosuchrun", 2),
    ("evaluate latest --split nosuchsplit", 2),
    ("evaluate latest --ks 1000", 2),
    ("evaluate latest --data-dir torn", 1),
    ("evaluate latest --out file/per_user.parquet", 1),
    ("evaluate torn --runs-dir torn-runs", 1),
    ("recommend latest --user user-0007", 0),
    ("recommend latest", 2),
    ("recommend latest --user nosuchuser", 2),
    ("recommend latest --all --out file/recs.parquet", 1),
    ("recommend nosuchrun --user user-0007", 2),
    ("models", 0),
    ("models mf", 0),
    ("models nosuchmodel", 2),
    # Evaluation
    ("compare --models mf --dry-run", 0),
    ("compare --models nosuchmodel --dry-run", 2),
    ("compare --models mf --dry-run --data-dir torn", 1),
    ("ablate --dry-run", 0),
    ("ablate --variant nosuchvariant --dry-run", 2),
    ("sparsity --runs-of mf --dry-run", 0),
    ("sparsity --runs-of mf --buckets few --dry-run", 2),
    ("sweep --param layers=1,2 --dry-run", 0),
    ("sweep --param nosuchsetting=1,2 --dry-run", 2),
    ("sweep --param layers --dry-run", 2),
    ("curves latest", 0),
    ("curves latest --metric nosuchmetric", 2),
    ("curves nosuchrun", 2),
    ("curves latest --out file", 1),
    ("analyze", 2),
    ("analyze latest --users 1", 2),
    ("analyze nosuchrun", 2),
    ("report", 0),
    ("report --dataset nosuchdata", 2),
    ("report --reference nosuchrun", 2),
    ("report --out file", 1),
]


@pytest.fixture
def folder(tmp_path: Path, demo: Path, run: Path) -> None:
    """Fill the working directory with data and runs, whole and damaged."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "demo").symlink_to(demo)
    shutil.copytree(run, tmp_path / "runs" / run.name)
    (tmp_path / "torn" / "demo").mkdir(parents=True)
    (tmp_path / "torn" / "demo" / "manifest.json").write_text('{"format": "mmssl-prepa')
    (tmp_path / "torn-runs" / "torn").mkdir(parents=True)
    (tmp_path / "torn-runs" / "torn" / "config.toml").write_text('model = "m')
    (tmp_path / "file").write_text("An ordinary file.\n")
    (tmp_path / "wrong.toml").write_text("nosuchsetting = 1\n")


def _check(answer: Answer, code: int) -> None:
    """Check the code, and that a failure is a sentence rather than a traceback."""
    assert answer.code == code, answer.words
    assert "Traceback" not in answer.out + answer.err
    assert "bug in mmssl" not in answer.err


def test_help_is_a_success(cli: Cli, command: str) -> None:
    """Ask every subcommand for its help."""
    _check(cli(command, "--help"), 0)


def test_unknown_option_is_a_wrong_command_line(cli: Cli, command: str) -> None:
    """Give every subcommand an option that it does not have."""
    _check(cli(command, "--nosuchoption"), 2)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(("line", "code"), CASES, ids=lambda value: str(value) or "nothing")
def test_exit_code(cli: Cli, line: str, code: int) -> None:
    """Check the exit code of a command line, and that the last line of a failure is its error."""
    answer = cli(*line.split())
    _check(answer, code)
    if code and line:
        assert answer.err.splitlines()[-1].startswith("Error: "), answer.err
