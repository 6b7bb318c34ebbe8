"""The tests' own structure."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.conftest import ROOT

MODULES = sorted((ROOT / "tests").rglob("*.py"))


def test_modules_are_found() -> None:
    assert len(MODULES) > 100


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT / "tests").as_posix())
def test_no_module_imports_a_test_module(path: Path) -> None:
    """Test modules share code through tests/helpers/ alone."""
    tree = ast.parse(path.read_bytes())
    imported = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    imported += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    assert [name for name in imported if name.rpartition(".")[2].startswith("test_")] == []
