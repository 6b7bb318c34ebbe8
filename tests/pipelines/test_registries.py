"""The two tables of what data sets are prepared from: every line of them leads to what it promises."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from pipelines import prepared
from pipelines.errors import InputError
from pipelines.io.reporter import Reporter
from pipelines.io.step_cache import WorkFolder
from pipelines.layouts import LAYOUTS, load_layout
from pipelines.layouts.exporting import export
from pipelines.recipe import PrepOptions
from pipelines.sources import SOURCES, load_source
from pipelines.sources.published import unpacked
from tests.conftest import ROOT


@pytest.mark.parametrize("name", SOURCES)
def test_a_source_can_plan(name: str) -> None:
    source = load_source(name)
    assert callable(source.plan)
    assert source.needs_files == (name != "demo")
    assert set(getattr(source, "options", ())) <= set(PrepOptions.model_fields)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_recognises_its_own_alone(name: str, demo: Path, tmp_path: Path) -> None:
    export(demo, name, tmp_path / "out")
    assert [other for other in LAYOUTS if load_layout(other).recognises(tmp_path / "out")] == [name]
    assert not load_layout(name).recognises(tmp_path / "nowhere")


def test_a_zip_of_several_data_sets_is_refused(tmp_path: Path) -> None:
    for names in (["train.json"], ["a/train.json"], ["a/b.inter", "notes.txt"]):
        with zipfile.ZipFile(tmp_path / "one.zip", "w") as archive:
            for name in names:
                archive.writestr(name, "userID\titemID\n" if name.endswith("inter") else "{}")
            archive.writestr("__MACOSX/._b.inter", b"\0\xff")
        folder = unpacked(tmp_path / "one.zip", WorkFolder(tmp_path / "work", Reporter()))
        assert (folder / Path(names[0]).name).is_file()
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr("a/train.json", "{}")
        archive.writestr("b/train.json", "{}")
    with pytest.raises(InputError, match=r"two\.zip holds several data sets, in .*a and in .*b; leave one"):
        unpacked(tmp_path / "two.zip", WorkFolder(tmp_path / "work", Reporter()))


LIGHT = ("pipelines.prepared.manifest", "pipelines.catalog", "pipelines.layouts", "pipelines.recipe")


@pytest.mark.parametrize("light", [*LIGHT, "mmssl_cli.commands.prep", "mmssl_cli.commands.export"])
def test_what_light_commands_need_is_light(light: str) -> None:
    code = f"import sys, {light}\nassert not {{'numpy', 'pandas', 'pyarrow', 'torch'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_the_door_between_the_packages_opens_when_it_is_used() -> None:
    for name in prepared.__all__:
        assert getattr(prepared, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'read_prepare'"):
        _ = prepared.read_prepare  # type: ignore[attr-defined]
