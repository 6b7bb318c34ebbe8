"""What is installed: the wheel holds all that the program reads, and the script is there."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from mmssl_cli import __version__
from mmssl_cli.app import COMMANDS
from tests.conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built with the build backend of this environment: nothing is fetched."""
    pytest.importorskip("hatchling", reason="building a wheel needs hatchling, a part of the extra 'test'")
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def test_the_wheel_holds_every_module_and_data_file(wheel: zipfile.ZipFile) -> None:
    held = set(wheel.namelist())
    for package in ("mmssl_cli", "pipelines"):
        for pattern in ("*.py", "*.toml", "*.csv"):
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
