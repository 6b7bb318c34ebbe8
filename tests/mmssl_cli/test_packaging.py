"""The installed program: the wheel holds all files that it reads, and the script exists."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from mmssl_cli import __version__
from mmssl_cli.app import COMMANDS
from tests.conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def _build(target: str, folder: Path) -> Path:
    """Build a wheel or a source archive with the build backend of this environment: nothing is fetched."""
    pytest.importorskip("hatchling", reason="building needs hatchling, a part of the extra 'test'")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    return next(folder.iterdir())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    return zipfile.ZipFile(_build("wheel", tmp_path_factory.mktemp("wheel")))


@pytest.fixture(scope="module")
def archived(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Paths in the source archive, below its one folder."""
    with tarfile.open(_build("sdist", tmp_path_factory.mktemp("sdist"))) as archive:
        return {name.removeprefix(f"mmssl-{__version__}/") for name in archive.getnames()}


def test_the_wheel_holds_every_module_and_data_file(wheel: zipfile.ZipFile) -> None:
    held = set(wheel.namelist())
    assert {"mmssl_cli/py.typed", "pipelines/py.typed"} <= held
    for package in ("mmssl_cli", "pipelines"):
        for pattern in ("*.py", "*.toml", "*.csv", "py.typed"):
            for path in (ROOT / package).rglob(pattern):
                assert path.relative_to(ROOT).as_posix() in held


def test_the_wheel_holds_the_catalog_inside_its_package(wheel: zipfile.ZipFile) -> None:
    assert wheel.read("pipelines/datasets.toml") == (ROOT / "datasets.toml").read_bytes()


def test_the_wheel_installs_nothing_beside_the_two_packages(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert tops == {"mmssl_cli", "pipelines", f"mmssl-{__version__}.dist-info"}


def test_the_wheel_serves_the_catalog_where_no_checkout_is(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    wheel.extractall(tmp_path)
    script = "from pipelines import catalog; print(catalog.shipped_file(), catalog.load_catalog().default)"
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {script}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [str(tmp_path / "pipelines" / "datasets.toml"), "demo"]


def test_the_source_archive_holds_what_builds_tests_and_explains_the_project(archived: set[str]) -> None:
    assert {"LICENSE", "CITATION.cff", "CONTRIBUTING.md", "CHANGELOG.md", "README.md", "Makefile"} <= archived
    for folder in ("mmssl_cli", "pipelines", "benchmarks", "tests", "docs", "examples"):
        for pattern in ("*.py", "*.md", "*.toml", "*.csv", "*.json", "*.svg", "*.ipynb"):
            assert {path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob(pattern)} <= archived


def test_the_licence_is_named_and_carried(wheel: zipfile.ZipFile) -> None:
    folder = f"mmssl-{__version__}.dist-info"
    assert b"\nLicense-Expression: Apache-2.0\n" in wheel.read(f"{folder}/METADATA")
    assert wheel.read(f"{folder}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()


def test_the_citation_names_this_version() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {__version__}\n" in citation and "\nlicense: Apache-2.0\n" in citation


def test_the_script_is_the_entry_point() -> None:
    assert PROJECT["scripts"] == {"mmssl": "mmssl_cli.app:main"}
    installed = [point.value for point in entry_points(group="console_scripts") if point.name == "mmssl"]
    if not installed:
        pytest.skip("the project is not installed here, only on the path")
    assert set(installed) == {"mmssl_cli.app:main"}


def test_every_command_is_a_function_of_its_module() -> None:
    for target, _ in COMMANDS.values():
        module, _, function = target.partition(":")
        source = ROOT / (module.replace(".", "/") + ".py")
        assert f"def {function}(" in source.read_text(encoding="utf-8")
