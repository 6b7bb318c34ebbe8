"""A report and a section as files: whole, the same each time, and without those of the report before."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from matplotlib.figure import Figure

from mmssl_cli.reporting import html, latex, markdown
from mmssl_cli.reporting.document import Cell, Report, Section, Table, mean_of, number, word
from mmssl_cli.reporting.writing import LIST, write_report, write_section
from pipelines.errors import InputError
from tests.helpers import sample_report

TABLES = ("table3-ablation-tiktok", "table2-tiktok", "harmful", "provenance")


def test_a_table_is_parquet_too_with_numbers_as_numbers(tmp_path: Path) -> None:
    rows = (word("mf"), mean_of([0.1, 0.3]), Cell("-")), (word("<b>"), mean_of([0.5]), number(0.25))
    write_section(Section("s", "S", tables=(Table("t", "T", ("Model", "Recall@20", "p"), rows),)), tmp_path)
    table = pd.read_parquet(tmp_path / "tables/t.parquet")
    assert list(table) == ["Model", "Recall@20", "Recall@20 deviation", "p"]
    assert table["Model"].tolist() == ["mf", "<b>"]
    assert table["Recall@20"].tolist() == pytest.approx([0.2, 0.5])
    assert table["Recall@20 deviation"].tolist()[0] == pytest.approx(0.02**0.5)
    assert table["p"].isna().tolist() == [True, False] and table["p"][1] == 0.25


def test_a_report_is_a_folder_of_files_the_same_each_time(tmp_path: Path) -> None:
    paths = write_report(sample_report.report(), tmp_path / "a")
    again = write_report(sample_report.report(), tmp_path / "b")

    names = sorted(str(path.relative_to(tmp_path / "a")) for path in paths)
    assert names == sorted(
        ["files.json", "index.html", "report.md", "report.tex"]
        + [f"tables/{name}.{form}" for name in TABLES for form in ("csv", "parquet")]
        + [f"figures/{name}.{form}" for name in ("figure4-layers", "cost") for form in ("svg", "pdf", "png", "csv")]
    )
    assert sorted(path for path in (tmp_path / "a").rglob("*") if path.is_file()) == sorted(paths)
    for one, other in zip(paths, again, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name
        assert one.stat().st_size > 50


def test_a_section_is_written_beside_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "earlier.csv").write_text("kept")

    paths = write_section(sample_report.section(), tmp_path)

    assert (tmp_path / "ablation.md").read_text() == markdown.section(sample_report.section())
    assert (tmp_path / "ablation.tex").read_text() == latex.section(sample_report.section())
    assert {path.name for path in paths} == {
        *("ablation.md", "ablation.tex"),
        *(f"{name}.{form}" for name in TABLES[:2] for form in ("csv", "parquet")),
        *(f"figure4-layers.{form}" for form in ("svg", "pdf", "png", "csv")),
    }
    assert (tmp_path / "tables" / "earlier.csv").read_text() == "kept"
    assert (tmp_path / "figures" / "figure4-layers.pdf").read_bytes().startswith(b"%PDF")


def test_a_figure_is_drawn_once_and_rendered_once_a_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plot, drawn, forms = sample_report.layers(), [], []

    def draw() -> Figure:
        drawn.append(1)
        return plot.draw()

    counted = replace(plot, draw=draw)
    report = replace(sample_report.report(), sections=(Section("s", "S", plots=(counted,)),))
    alone, save = html.page(report), Figure.savefig
    drawn.clear()

    def count(self: Figure, *to: Any, **how: Any) -> None:
        forms.append(how["format"])
        save(self, *to, **how)

    monkeypatch.setattr(Figure, "savefig", count)
    write_report(report, tmp_path)

    assert len(drawn) == 1
    assert sorted(forms) == ["pdf", "png", "svg"]
    assert (tmp_path / "index.html").read_text(encoding="utf-8") == alone


def _report(*sections: Section) -> Report:
    return Report("Title", (), sections)


def test_a_report_takes_away_what_the_one_before_wrote_and_nothing_else(tmp_path: Path) -> None:
    old = Section("old", "Old", tables=(sample_report.ablation(),), plots=(sample_report.layers(),))
    write_report(_report(old, Section("kept", "Kept", tables=(sample_report.comparison(),))), tmp_path)
    write_section(Section("mine", "Mine", tables=(sample_report.provenance(),)), tmp_path)
    (tmp_path / "tables" / "notes.txt").write_text("kept")

    new = write_report(_report(Section("kept", "Kept", tables=(sample_report.comparison(),))), tmp_path)

    names = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    tables = {"tables/table2-tiktok.csv", "tables/table2-tiktok.parquet"}
    ours = {"index.html", "report.md", "report.tex", "files.json"} | tables
    other = {"mine.md", "mine.tex", "tables/provenance.csv", "tables/provenance.parquet", "tables/notes.txt"}
    assert names == ours | other
    assert {path.relative_to(tmp_path).as_posix() for path in new} == ours
    assert json.loads((tmp_path / LIST).read_text()) == sorted(ours - {LIST})


def test_a_list_that_names_what_no_report_writes_removes_nothing(tmp_path: Path) -> None:
    folder, beside = tmp_path / "report", tmp_path / "beside"
    for name in ("beside.csv", "report/notes.txt", "report/runs/result.json", "beside/stale.csv", "report/stale.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text("kept")
    (folder / "tables").symlink_to(beside)
    wrong = ["../beside.csv", str(tmp_path / "beside.csv"), "tables/../../beside.csv", "notes.txt", "", ".", "tables"]
    wrong += ["runs/result.json", "tables/stale.csv", "figures/gone.svg", "\0", "\ud800"]
    (folder / LIST).write_text(json.dumps([*wrong, "stale.md"]))

    write_report(_report(), folder)

    assert not (folder / "stale.md").exists()
    for name in ("beside.csv", "report/notes.txt", "report/runs/result.json", "beside/stale.csv"):
        assert (tmp_path / name).read_text() == "kept"


@pytest.mark.parametrize("damaged", [b"", b"{", b"\xff", b'{"stale.md": 1}', b'["stale.md", 1]', b"[" * 100_000])
def test_a_damaged_list_is_ignored(tmp_path: Path, damaged: bytes) -> None:
    (tmp_path / "stale.md").write_text("kept")
    (tmp_path / LIST).write_bytes(damaged)

    write_report(_report(), tmp_path)

    assert (tmp_path / "stale.md").exists()
    assert json.loads((tmp_path / LIST).read_text()) == ["index.html", "report.md", "report.tex"]


def test_a_file_that_no_report_wrote_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "report.md").write_text("mine")
    with pytest.raises(InputError, match=r"has a file report\.md that no report wrote; choose another --out"):
        write_report(_report(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["report.md"]
    (tmp_path / "report.md").rename(tmp_path / "notes.md")
    write_report(_report(), tmp_path)
    write_report(_report(), tmp_path)


@pytest.mark.parametrize(
    "write",
    [lambda to: write_report(sample_report.report(), to), lambda to: write_section(sample_report.section(), to)],
)
def test_a_folder_that_is_a_file_is_a_sentence(tmp_path: Path, write) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "report").write_text("a file in the way")
    with pytest.raises(InputError, match=r"Cannot write .*report"):
        write(tmp_path / "report")
    assert (tmp_path / "report").read_text() == "a file in the way"


def test_two_tables_of_one_name_are_refused(tmp_path: Path) -> None:
    section = Section("s", "S", tables=(sample_report.ablation(), replace(sample_report.ablation(), title="other")))
    with pytest.raises(ValueError, match="several named table3-ablation-tiktok"):
        write_section(section, tmp_path)
    assert not list(tmp_path.iterdir())
