"""Progress of `mmssl train` on a terminal, in a pseudo-terminal of 80 columns."""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT

fcntl = pytest.importorskip("fcntl", reason="pseudo-terminals are a matter of Unix")
pty = pytest.importorskip("pty")
termios = pytest.importorskip("termios")


def on_terminal(folder: Path, *arguments: str) -> tuple[int, list[tuple[float, str]]]:
    """Run `mmssl ARGUMENTS` on a terminal of 80 columns; return its exit code, and what it wrote with the seconds."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    started = time.monotonic()
    running = subprocess.Popen(
        [sys.executable, "-m", "mmssl_cli", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    written = []
    while True:
        try:
            data = os.read(ours, 65536)
        except OSError:  # the end, on Linux
            break
        if not data:
            break
        written.append((time.monotonic() - started, data.decode(errors="replace")))
    os.close(ours)
    return running.wait(), written


def test_training_on_a_terminal(tmp_path: Path, demo: Path) -> None:
    shutil.copytree(demo, tmp_path / "data" / "demo")
    code, written = on_terminal(tmp_path, "train", "--dataset", "demo", "--model", "mf", "--epochs", "2")
    text = "".join(part for _, part in written)
    assert code == 0, text
    stages = ["Loading PyTorch", "Loading the data set demo", "Building mf", "epoch 1/2", "epoch 2/2", "Evaluating"]
    assert [stage for stage in stages if stage in text] == stages
    assert text.index("Loading PyTorch") < text.index("Training mf")
    first = next(seconds for seconds, part in written if "Loading PyTorch" in part)
    assert first < written[-1][0] / 2  # before anything heavy, also on a busy machine
    assert re.search(r"\d+/\d+, best 0\.\d{4} \(epoch 1\), 0:0\d left", text)

    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    epochs = [line for line in re.split(r"[\r\n]+", plain) if re.match(r"epoch [12]/2  loss", line)]
    assert len(epochs) == 2
    assert all(len(line) <= 79 for line in epochs)
    assert epochs[0].endswith("  best")
    assert "`best` marks the highest validation recall@20 so far." in plain
