"""Tables of metrics: their numbers, their order, and the published ones."""

from __future__ import annotations

import csv
import io

import pytest
from rich.console import Console
from rich.table import Table

from mmssl_cli.console.tables import comparison_table, mean_and_deviation, metrics_table, show
from mmssl_cli.reporting.published import published_results
from tests.conftest import ROOT

PAPER = ROOT.parent / "shared" / "paper"


def _lines(table: Table) -> list[str]:
    console = Console(file=io.StringIO(), width=200)
    console.print(table)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


def test_one_run_shows_its_values_and_several_their_mean_and_deviation() -> None:
    one, two = {"recall@20": 0.11, "ndcg@20": 0.047, "recall@5": 0.03}, {"recall@20": 0.13, "ndcg@20": 0.049}

    alone = [line.split() for line in _lines(metrics_table([one], "Test"))]
    assert alone == [["Test"], ["K", "Recall", "NDCG"], ["5", "0.0300", "-"], ["20", "0.1100", "0.0470"]]
    both = [line.split() for line in _lines(metrics_table([one, two]))]
    assert both[-1] == ["20", "0.1200", "±", "0.0141", "0.0480", "±", "0.0014"]
    assert both[1] == ["5", "0.0300", "-"]


def test_mean_and_deviation_of_none_one_and_several() -> None:
    assert mean_and_deviation([]) == "-"
    assert mean_and_deviation([0.10944]) == "0.1094"
    assert mean_and_deviation([0.1, 0.2, 0.3]) == "0.2000 ± 0.1000"


def test_ours_stand_among_the_published_by_recall() -> None:
    table = comparison_table("tiktok", {"mmssl [odd]": [{"recall@20": 0.110, "ndcg@20": 0.047}] * 2})
    assert table is not None

    rows = _lines(table)[2:]
    models = [row.split()[0] for row in rows]
    recalls = [float(row.removeprefix("mmssl [odd]").split()[0 if "odd" in row else 1]) for row in rows]
    assert recalls == sorted(recalls)
    at = models.index("mmssl")
    assert models.index("MMSSL") < at < models.index("DiffMM") < models.index("MMHCL")
    assert "mmssl [odd]" in rows[at]
    assert rows[at].endswith("these 2 runs")


def test_a_data_set_that_no_paper_knows_has_no_comparison() -> None:
    assert comparison_table("demo", {"mf": [{"recall@20": 0.1}]}) is None


def test_published_results_keep_their_numbers_and_sources() -> None:
    found = {result.model: result for result in published_results("amazon-baby")}

    assert found["MMSSL"].metrics == {"recall@20": 0.0962, "precision@20": 0.0051, "ndcg@20": 0.0422}
    assert found["MMSSL"].source == "MMSSL (WWW 2023) table 2"
    assert found["BM3"].metrics == {"recall@20": 0.0839, "ndcg@20": 0.0361}
    assert found["BM3"].source == "DiffMM (MM 2024) table 1"
    assert len(found) == 15 + 2


@pytest.mark.skipif(not PAPER.is_dir(), reason="the papers' tables are not beside the checkout")
@pytest.mark.parametrize("name", ["table2_comparison.csv", "peers_same_split.csv"])
def test_every_published_number_is_carried(name: str) -> None:
    with (PAPER / name).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows
    for row in rows:
        values = [r.metrics.get(row["metric"]) for r in published_results(row["dataset"]) if r.model == row["model"]]
        assert float(row["value"]) in values


def test_a_pipe_gets_whole_lines(capsys: pytest.CaptureFixture[str]) -> None:
    table = metrics_table([{"recall@20": 0.5}], title="")
    table.add_column("x" * 300)

    show(table)

    assert "x" * 300 in capsys.readouterr().out
