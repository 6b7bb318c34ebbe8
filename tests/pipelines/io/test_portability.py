"""No module needs at import what only Unix has, so that the program starts on Windows too."""

from __future__ import annotations

import subprocess
import sys

from tests.conftest import ROOT

IMPORT_ALL = """
import importlib, pkgutil, sys, warnings
for name in ("fcntl", "resource"):
    sys.modules[name] = None
warnings.filterwarnings("ignore", "only soft file lock is available")
for package in map(importlib.import_module, ("mmssl_cli", "pipelines")):
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not module.name.endswith("__main__"):
            print(importlib.import_module(module.name).__name__)
"""


def test_every_module_is_imported_without_what_only_unix_has() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORT_ALL], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert {"mmssl_cli.training.device", "pipelines.io.locks"} <= set(done.stdout.split())
