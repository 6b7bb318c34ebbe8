"""The commands without what only Unix has, as on Windows: no fcntl, no resource, no fork; processes are spawned."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

HIDE = """
import multiprocessing, multiprocessing.context, os, sys
import filelock  # has a lock of its own for Windows, which is not this machine

for name in ("fcntl", "resource", "grp", "pwd", "termios"):
    sys.modules[name] = None
for name in ("fork", "forkpty", "getuid", "geteuid", "sched_getaffinity", "killpg", "setsid"):
    if hasattr(os, name):
        delattr(os, name)
spawn = {"spawn": multiprocessing.context._concrete_contexts["spawn"]}
multiprocessing.context._concrete_contexts = spawn
multiprocessing.get_all_start_methods = lambda: ["spawn"]
multiprocessing.set_start_method("spawn", force=True)

from mmssl_cli.app import main

for line in sys.argv[1:]:
    try:
        main(line.split())
    except SystemExit as end:
        print(f"ended with {end.code}", flush=True)
        if end.code:
            break
"""
COMMANDS = (
    "prep demo",
    "prep demo --check",
    "train --model mf --dataset demo --epochs 1",
    "evaluate latest",
    "recommend latest --user user-0000",
    "runs",
    "compare --models mf,lightgcn --dataset demo --epochs 1 --jobs 2",
)


def test_the_commands_work_without_what_only_unix_has(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HIDE, *COMMANDS],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.stdout.count("ended with 0") == len(COMMANDS), (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
