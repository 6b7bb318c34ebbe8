"""A document that says how to extend the program, followed to the letter in a copy of it."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT


class FollowedDocument:
    """A document of docs/, whose blocks of code are files, lines and commands."""

    def __init__(self, name: str) -> None:
        self.text = (ROOT / "docs" / name).read_text(encoding="utf-8")

    def block(self, after: str, language: str) -> str:
        """Return the first block of code in a language below a heading."""
        text = re.split(rf"^#+ {after}\n", self.text, flags=re.MULTILINE)[1]
        found = re.search(rf"```{language}\n(.*?)```", text, re.DOTALL)
        assert found, f"no {language} below {after}"
        return found[1]

    def extend(self, copy: Path, registry: str, table: str) -> Path:
        """Copy both packages and add the document's file, and its line to a table of the registry."""
        for name in ("mmssl_cli", "pipelines"):
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "datasets.toml", copy)
        [path] = re.findall(r"^`((?:mmssl_cli|pipelines)/\w+/\w+\.py)` (?:holds|says)", self.text, re.MULTILINE)
        assert not (copy / path).exists()
        (copy / path).write_text(self.block("The file", "python"), encoding="utf-8")
        file = copy / registry
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
        end = lines.index("}\n", next(at for at, line in enumerate(lines) if line.startswith(table)))
        lines.insert(end, self.block("The line", "python"))
        file.write_text("".join(lines), encoding="utf-8")
        return copy

    def run(self, after: str, folder: Path, program: Path = ROOT) -> dict[str, str]:
        """Run the commands below a heading; return subcommand -> output."""
        outputs = {}
        for line in self.block(after, "bash").splitlines():
            command, *words = shlex.split(line, comments=True)
            assert command == "mmssl"
            done = subprocess.run(
                [sys.executable, "-m", "mmssl_cli", *words],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(program)},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
            assert done.returncode == 0, f"{line}: {done.stderr}"
            outputs[words[0]] = done.stdout
        return outputs
