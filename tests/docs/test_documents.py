"""The README and docs/: links, paths and command lines lead to what exists, and the site builds."""

from __future__ import annotations

import importlib
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from mmssl_cli.app import COMMANDS, LazyCommand, LazyGroup, app
from mmssl_cli.config import settings_class
from mmssl_cli.config.registry import MODELS
from pipelines.catalog import load_catalog
from tests.conftest import ROOT

README = ROOT / "README.md"
DOCUMENTS = [README, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
# Neither reports that the program wrote, nor instructions on what does not exist yet.
DESCRIPTIVE = [
    path for path in DOCUMENTS if not path.is_relative_to(ROOT / "docs" / "results") and "adding-" not in path.name
]
#: Models that come with the program: their settings are in mmssl_cli.config, so that listing them needs no PyTorch.
SHIPPED = [
    name
    for name, (module, settings) in MODELS.items()
    if module.startswith("mmssl_cli.models.") and settings.startswith("mmssl_cli.config.")
]
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
FOLDERS = (".ci/", ".github/", "benchmarks/", "docs/", "examples/", "mmssl_cli/", "pipelines/", "tests/")


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _prose(path: Path) -> str:
    """Return a document without its code blocks."""
    return FENCE.sub("", path.read_text(encoding="utf-8"))


def _anchors(path: Path) -> set[str]:
    """Return the anchors of a document's headings, as GitHub and the site make them."""
    headings = re.findall(r"^#+ (.+)$", _prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def _command_lines(start: str) -> Iterator[tuple[str, str]]:
    """Yield the command lines with a start, in code blocks and in backticks, each with its document."""
    for path in DESCRIPTIVE:
        text = path.read_text(encoding="utf-8")
        lines = [line for block in FENCE.findall(text) for line in block.replace("\\\n", " ").splitlines()]
        lines += [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", FENCE.sub("", text))]
        yield from ((_name(path), line) for line in lines if re.match(start, line))


@pytest.mark.parametrize("path", DOCUMENTS, ids=_name)
def test_relative_links_lead_to_files_and_headings(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", _prose(path)):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        found = (path.parent / file).resolve() if file else path
        assert found.exists(), target
        assert not anchor or anchor in _anchors(found), target


@pytest.mark.parametrize("path", DESCRIPTIVE, ids=_name)
def test_paths_in_backticks_exist(path: Path) -> None:
    for text in re.findall(r"`([^`\s<>*]+)`", _prose(path)):
        if text.startswith(FOLDERS):
            assert (ROOT / text).exists(), text
        elif "/" in text and text.endswith(".py"):
            assert any((ROOT / above / text).is_file() for above in ("mmssl_cli", "tests/mmssl_cli")), text


@pytest.mark.parametrize("path", DESCRIPTIVE, ids=_name)
def test_benchmarks_exist(path: Path) -> None:
    for name in re.findall(r"\bbench_\w+", path.read_text(encoding="utf-8")):
        assert (ROOT / "benchmarks" / f"{name}.py").is_file(), name


@pytest.mark.parametrize(("document", "line"), list(_command_lines("mmssl [a-z]")))
def test_command_lines_use_commands_and_flags_that_exist(document: str, line: str) -> None:
    group = typer.main.get_command(app)
    assert isinstance(group, LazyGroup)
    _, name, *words = shlex.split(line, comments=True)
    command = group.commands[name]
    assert isinstance(command, LazyCommand)
    known = {flag for option in command.load().params for flag in (*option.opts, *option.secondary_opts)} | {"--help"}
    assert {word for word in words if word.startswith("-")} <= known


@pytest.mark.parametrize(("document", "line"), list(_command_lines(r"python -m benchmarks\.")))
def test_benchmarks_take_the_flags_of_the_documents(document: str, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, name, *words = shlex.split(line)
    module = importlib.import_module(name)
    monkeypatch.setattr(module, "run", lambda parser, arguments, *_: parser.parse_args(arguments))
    module.main(words)


def test_the_readme_is_short_and_names_every_command_model_and_data_set() -> None:
    text = README.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 180
    for name in (*COMMANDS, *SHIPPED, *load_catalog().entries):
        assert f"`{name}`" in text, name


def test_the_models_of_the_readme_exist() -> None:
    section = README.read_text(encoding="utf-8").split("\n## Models\n")[1].split("\n## ")[0]
    listed = re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)
    assert len(listed) == len(set(listed)) >= len(SHIPPED) and set(listed) <= set(MODELS)


@pytest.mark.slow
def test_the_site_builds_without_a_warning_or_a_request(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="the site needs mkdocs, a part of the extra 'docs'")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert {"index.html", "paper.html", "CONTRIBUTING.html", "CHANGELOG.html"} <= {page.name for page in pages}
    for page in pages:
        loads = r"""<(?:script|img|iframe)[^>]*\ssrc=["']?(?:https?:)?//|<link[^>]*rel=["']?stylesheet[^>]*//"""
        assert not re.search(loads, page.read_text(encoding="utf-8")), page


def test_defaults_in_the_reading_of_the_paper_are_those_of_the_settings() -> None:
    fields = settings_class("mmssl").model_fields
    text = (ROOT / "docs" / "paper.md").read_text().partition("## Open points")[2].partition("## What the")[0]
    named = re.findall(r"`([a-z-]+)` \(`?([\w.+-]+)`?[):]", text)
    known = {name: value for name, value in named if name.replace("-", "_") in fields}
    assert len(known) >= 12, known
    for name, value in known.items():
        default = fields[name.replace("-", "_")].default
        assert value == default if isinstance(default, str) else float(value) == default, name
