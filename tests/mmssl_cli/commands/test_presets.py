"""Presets in commands, labels and tables."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mmssl_cli.config import build_settings
from mmssl_cli.runs.results import finished_runs
from mmssl_cli.studies.ablation import ablation_section
from mmssl_cli.studies.comparison import comparison_section
from mmssl_cli.studies.run_selection import gather
from tests.conftest import Answer
from tests.helpers.written_runs import write_run


@pytest.mark.parametrize(
    ("settings", "label"),
    [
        ({"model": "mmssl"}, "mmssl"),
        ({"model": "mmssl", "preset": "tuned"}, "mmssl"),
        ({"model": "mmssl", "variant": "w/o-CL", "preset": "paper"}, "mmssl (w/o-CL, paper)"),
        ({"model": "slmrec", "cl": True, "asl": True}, "slmrec (+ASL, +CL)"),
        ({"model": "lightgcn", "spectral_weight": 0.1}, "lightgcn (+GF-CF)"),
        ({"model": "vbpr", "modalities": ("visual",)}, "vbpr (visual)"),
        ({"model": "mmssl", "modalities": ()}, "mmssl (without modalities)"),
    ],
)
def test_a_label_names_what_makes_a_model_another_one(settings: dict[str, object], label: str) -> None:
    assert build_settings(settings).label == label


def test_a_model_with_plug_ins_or_another_preset_does_not_stand_for_the_plain_one(tmp_path: Path) -> None:
    for settings, score in (
        ({"model": "slmrec"}, 0.1),
        ({"model": "slmrec", "cl": True}, 0.3),
        ({"model": "mmssl"}, 0.2),
        ({"model": "mmssl", "variant": "w/o-CL"}, 0.2),
        ({"model": "mmssl", "preset": "paper", "omega": 0.5}, 0.4),
    ):
        write_run(tmp_path, settings=settings, scores=[score], test=score)
    found = gather(finished_runs(tmp_path)[0], "demo")
    assert list(found.baselines) == ["slmrec", "slmrec (+CL)"]
    assert [one.label for one in found.alternatives] == ["mmssl (paper)"]
    assert found.reference is not None and found.reference.label == "mmssl"
    models = [*found.baselines.values(), *found.alternatives, found.reference]
    accuracy, tests, _ = comparison_section("demo", models).tables
    assert [row[0].text for row in accuracy.rows][:4] == ["slmrec", "slmrec (+CL)", "mmssl (paper)", "mmssl"]
    assert tests.title == "mmssl (paper) against the other models on demo"  # the best on validation
    others = ["slmrec", "slmrec (+CL)", "mmssl"]
    expected = [(other, metric) for metric in ("Recall@20", "Precision@20", "NDCG@20") for other in others]
    assert [(row[0].text, row[1].text) for row in tests.rows] == expected
    named = comparison_section("demo", models, reference=found.reference).tables[1]
    assert named.title == "mmssl against the other models on demo"
    (paper,) = found.alternatives
    section = ablation_section(paper.settings, {"full": paper})
    assert section.title == "Ablation on demo, preset paper (the paper's Table 3)"
    assert section.tables[0].name == "table3-ablation-demo-preset-paper-recall-20"


def test_presets_are_shown_side_by_side_with_their_sources(cli: Callable[..., Answer]) -> None:
    shown = cli("models", "mmssl", "--presets").out
    assert "paper" in shown and "Sources of released:" in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert "best is for tiktok alone: mmssl models mmssl --presets --dataset tiktok" in shown
    records = {row["setting"]: row for row in json.loads(cli("models", "mmssl", "--presets", "--json").out)}
    assert records["omega"]["paper"] == {"value": 0.55, "source": "Eq. 12, on; released program, --model_cat_rate"}
    assert records["gradient-penalty"]["released"]["value"] == 0.3
    assert "name the model" in cli("models", "--presets").err
