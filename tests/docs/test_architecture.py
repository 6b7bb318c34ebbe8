"""docs/architecture.md names rooms, files and functions that exist, and every room."""

from __future__ import annotations

import re

import pytest

from tests.conftest import ROOT

TEXT = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
NAMED = re.findall(r"`([\w/]+\.py)`:((?:\s+(?:and\s+)?`\w+`,?)+)", TEXT)


def test_files_are_followed_by_names() -> None:
    assert len(NAMED) > 20


@pytest.mark.parametrize(("file", "names"), [(file, re.findall(r"`(\w+)`", names)) for file, names in NAMED])
def test_names_after_a_file_are_defined_in_it(file: str, names: list[str]) -> None:
    source = (ROOT / file).read_text(encoding="utf-8")
    for name in names:
        assert re.search(rf"^\s*(?:def|class) {name}\b|^{name}\b.*=", source, re.MULTILINE), f"{file}: {name}"


@pytest.mark.parametrize("package", ["mmssl_cli", "pipelines"])
def test_the_tables_have_every_room(package: str) -> None:
    start = TEXT.index(f"| Room of `{package}/` |")
    cells = "".join(line.split("|")[1] for line in TEXT[start:].split("\n\n", 1)[0].splitlines()[2:])
    entries = [path for path in (ROOT / package).iterdir() if not path.name.startswith("_") and path.suffix != ".typed"]
    rooms = {path.name + "/" * path.is_dir() for path in entries}
    assert set(re.findall(r"`([\w./]+)`", cells)) == rooms
