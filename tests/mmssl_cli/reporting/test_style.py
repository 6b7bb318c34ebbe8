"""The look of figures: a model's own colour, told apart by everybody; the same bytes; harmless on a page."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from mmssl_cli.config import SETTINGS
from mmssl_cli.reporting import style
from pipelines.errors import InputError
from tests.conftest import ROOT
from tests.helpers.sample_report import NASTY, VARIANTS

COLLABORATIVE = ("mf", "ngcf", "lightgcn", "sgl", "ncl", "hccf")
MULTIMODAL = tuple(name for name, kind in SETTINGS.items() if kind.needs_content)
TOGETHER = [(*VARIANTS, "lightgcn", "mf"), ("mmssl", *COLLABORATIVE), ("mmssl", "vbpr", "grcn", "lattice", "slmrec")]

# Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB.
BLINDNESS = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def _figure(title: str = "") -> Figure:
    figure = style.figure()
    axes = figure.subplots()
    style.band(axes, [1, 2, 3], [1, 2, 3], [0, 1, 2], [2, 3, 4], "mmssl")
    axes.set(title=title, xlabel="epoch", ylim=(0, 3))  # the band is clipped: a clip path
    return figure


def _linear(colour: str) -> np.ndarray:
    rgb = np.array(to_rgb(colour))
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def _lab(linear: np.ndarray) -> np.ndarray:
    """CIE L*a*b* (D65) of linear RGB."""
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    ratio = to_xyz @ np.clip(linear, 0, 1) / [0.9505, 1.0, 1.089]
    x, y, z = np.where(ratio > 216 / 24389, np.cbrt(ratio), (ratio * 24389 / 27 + 16) / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_no_two_models_look_the_same() -> None:
    known = [*VARIANTS, *COLLABORATIVE, *MULTIMODAL]
    looks = {(style.colour(name), str(style.line_style(name)), style.marker(name)) for name in known}
    assert len(looks) == len(known)


@pytest.mark.parametrize("names", TOGETHER, ids=lambda names: names[1])
@pytest.mark.parametrize("sight", ["usual", *BLINDNESS])
def test_models_drawn_together_are_told_apart_by_everybody(names: tuple[str, ...], sight: str) -> None:
    seen = np.array(BLINDNESS.get(sight, np.eye(3)))
    labs = {name: _lab(seen @ _linear(style.colour(name))) for name in names}
    for one, other in itertools.combinations(names, 2):
        distance = np.linalg.norm(labs[one] - labs[other])
        # Where two colours come near each other, line and marker must differ; no two may be one colour.
        assert distance > 5, (one, other, distance)
        if distance < 20:
            assert style.line_style(one) != style.line_style(other), (one, other)
            assert style.marker(one) != style.marker(other)


def test_every_colour_stands_out_from_white_paper() -> None:
    for colour in style.PALETTE.values():
        luminance = float(np.dot([0.2126, 0.7152, 0.0722], _linear(colour)))
        assert 1.05 / (luminance + 0.05) > 2.2, colour


def test_a_model_is_known_by_its_published_names_and_keeps_its_colour_with_more_words() -> None:
    assert style.colour("MMSSL") == style.colour("mmssl") == style.colour("mmssl (full)")
    assert style.colour("MF-BPR") == style.colour("mf")
    assert style.colour("LightGCN-M") == style.colour("lightgcn-m")
    assert style.colour("lightgcn (seed 7)") == style.colour("lightgcn")
    assert style.marker("lightgcn (seed 7)") in style._MARKERS


def test_a_label_nobody_knows_looks_the_same_in_every_process() -> None:
    code = (
        "from mmssl_cli.reporting import style as s; print([(s.colour(n), s.marker(n)) for n in ('new', 'other one')])"
    )
    answers = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert answers == {str([(style.colour(name), style.marker(name)) for name in ("new", "other one")]) + "\n"}


@pytest.mark.parametrize("form", ["svg", "pdf", "png"])
def test_the_same_figure_gives_the_same_bytes(tmp_path: Path, form: str) -> None:
    one = style.save(_figure(NASTY), tmp_path / "a" / f"figure.{form}")
    other = style.save(_figure(NASTY), tmp_path / "b" / f"figure.{form}")
    assert one.read_bytes() == other.read_bytes()
    assert len(one.read_bytes()) > 2000


def test_a_saved_svg_is_xml_whatever_the_title(tmp_path: Path) -> None:
    root = ElementTree.fromstring(style.save(_figure(NASTY), tmp_path / "figure.svg").read_bytes())
    texts = [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert any("<script>alert(1)</script> ]]> $x$ \\input{/etc/passwd}" in text for text in texts)
    assert "epoch" in texts


def test_figures_of_one_page_share_no_id_and_reach_for_nothing_else() -> None:
    pages = [style.svg(_figure('id="stolen" url(#stolen)'), name) for name in ("one", "two")]
    ids = []
    for page, name in zip(pages, ("one", "two"), strict=True):
        root = ElementTree.fromstring(page)
        mine = [element.get("id") for element in root.iter() if element.get("id")]
        assert len(mine) == len(set(mine)) > 10
        assert all(identity.startswith(f"{name}-") for identity in mine)
        wanted = [value for element in root.iter() for key, value in element.items() if key.endswith("href")]
        wanted += [
            value.partition("url(")[2].partition(")")[0]
            for e in root.iter()
            for value in e.attrib.values()
            if "url(" in value
        ]
        assert len(wanted) > 5
        assert {address.removeprefix("#") for address in wanted} <= set(mine)
        assert {element.tag.rpartition("}")[2] for element in root.iter()} == {
            "svg",
            "g",
            "defs",
            "path",
            "use",
            "text",
            "clipPath",
            "rect",
        }
        assert 'id="stolen" url(#stolen)' in "".join(root.itertext())
        ids.append(set(mine))
    assert not ids[0] & ids[1]


def test_a_figure_on_a_page_is_an_image_with_a_description() -> None:
    root = ElementTree.fromstring(style.svg(_figure(), "one", 'what "is" <seen>'))
    assert (root.get("role"), root.get("aria-label")) == ("img", 'what "is" <seen>')
    assert root.get("width") is None
    assert [float(side) for side in root.get("viewBox", "").split()] == pytest.approx([0, 0, 3.4 * 72, 2.4 * 72])


def test_powers_of_ten_are_text() -> None:
    figure = style.figure()
    axes = figure.subplots()
    axes.loglog([1e-3, 1e2], [2, 5])
    axes.set_ylim(2, 5)

    for _ in range(2):  # drawn again, it stays as it was
        text = "|".join(ElementTree.fromstring(style.svg(figure)).itertext())
        assert "10⁻³" in text
        assert "3×10⁰" in text
        assert not set("${}\\") & set(text)


def test_a_band_is_a_line_with_markers_and_an_area() -> None:
    figure = style.figure()
    axes = figure.subplots()
    line = style.band(axes, [1, 2], [3, 4], [2, 3], [4, 5], "ncl")
    style.band(axes, [1, 2], [3, 4], None, None, "sgl", markers=False)

    assert line.get_label() == "ncl"
    assert [artist.get_color() for artist in axes.lines] == [style.colour("ncl"), style.colour("sgl")]
    assert [artist.get_marker() for artist in axes.lines] == [style.marker("ncl"), ""]
    (area,) = axes.collections
    heights = area.get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == (2, 5)


def test_widths_are_columns_of_a_page() -> None:
    assert tuple(style.figure().get_size_inches()) == (3.4, 2.4)
    assert tuple(style.figure(2, 3).get_size_inches()) == (7.0, 3.0)


def test_a_place_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "figures").write_text("a file in the way")
    with pytest.raises(InputError, match=r"Cannot write .*one\.svg"):
        style.save(_figure(), tmp_path / "figures" / "one.svg")
