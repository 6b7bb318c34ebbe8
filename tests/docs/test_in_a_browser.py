"""Pages of the site and a report in headless Chromium, wide as a desktop and as a phone: no error on the console."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import ROOT, Answer

BROWSER = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--virtual-time-budget=4000")
WIDTHS = (1280, 500)  # 500 is the least that headless Chromium takes

pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="needs Chromium")]


def _check(page: Path, folder: Path) -> None:
    """Open a page at each width; it must draw something, and log no error."""
    for width in WIDTHS:
        picture = folder / f"{width}.png"
        assert BROWSER is not None
        done = subprocess.run(
            [
                BROWSER,
                *FLAGS,
                f"--user-data-dir={folder / 'profile'}",
                f"--window-size={width},900",
                f"--screenshot={picture}",
                page.as_uri(),
            ],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        logged = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
        assert not [line for line in logged if re.search("error|refused|failed", line, re.IGNORECASE)], logged
        with Image.open(picture) as drawn:
            assert drawn.width == width
            assert len(drawn.convert("L").getcolors() or []) > 10


def test_a_console_error_is_seen(tmp_path: Path) -> None:
    page = tmp_path / "broken.html"
    page.write_text("<!doctype html><title>x</title><script>nothing.of.this()</script>")
    with pytest.raises(AssertionError, match="nothing is not defined"):
        _check(page, tmp_path)


def test_the_site(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="the site needs mkdocs, a part of the extra 'docs'")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(tmp_path / "site")]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, check=True)
    for name in ("index.html", "reference/python.html"):
        _check(tmp_path / "site" / name, tmp_path)


def test_a_report(cli: Callable[..., Answer], demo: Path, tmp_path: Path) -> None:
    place = ("--data-dir", demo.parent)
    for model in ("pop", "itemknn"):
        assert cli("train", "--model", model, *place).code == 0
    assert cli("report", *place).code == 0
    _check(tmp_path / "report" / "index.html", tmp_path)
