"""Terminals and pipes of other encodings than UTF-8: nothing crashes, and what they lack is written in ASCII."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmssl_cli.console.lines import ascii_of
from tests.conftest import ROOT
from tests.helpers.model_cases import write_toy

SMALL = "--dataset toy --embedding-dim 8 --batch-size 32 --ks 3,5 --select-on recall@5 --epochs 1 --device cpu"


@pytest.mark.parametrize(
    ("ch", "shown"),
    [("ζ", "zeta"), ("±", "+/-"), ("─", "-"), ("│", "|"), ("╭", "+"), ("é", "e"), ("₁", "1"), ("漢", "\\u6f22")],
)
def test_equivalents_in_ascii(ch: str, shown: str) -> None:
    assert ascii_of(ch) == shown


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "ascii"])
def test_commands_write_to_any_encoding(tmp_path: Path, encoding: str) -> None:
    write_toy(tmp_path / "data")

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "mmssl_cli", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": encoding},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode(encoding)
        assert "\\u" not in done.stdout.decode(encoding)
        return done.stdout.decode(encoding)

    sweep = run("sweep", "toy", "--param", "zeta=0,1", *SMALL.split()[2:], "--runs", "2")
    assert "zeta" in sweep
    assert "±" in sweep or "+/-" in sweep
    if encoding == "latin-1":
        for words in (["--help"], ["train", "--help"], ["models"], ["models", "mmssl"], ["datasets"], ["runs"]):
            assert run(*words)
        assert run("evaluate", "latest")
        assert json.loads(run("runs", "--json"))
        assert "report" in run("report", "toy")
