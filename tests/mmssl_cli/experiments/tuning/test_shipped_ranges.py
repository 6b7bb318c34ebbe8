"""The ranges that are shipped: what they hold of the settings that are shipped and published."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmssl_cli.config import SETTINGS, FittedSettings
from mmssl_cli.config.presets import parse_toml
from mmssl_cli.experiments.tuning.space import RANGES, Choices, contains, shipped_space, shipped_starts

PRESETS = RANGES.parent
#: Values of presets that the ranges do not hold, and why.
OUTSIDE = {
    "best/tiktok/mmssl": ({"adversarial-weight"}, "0 turns the adversary off"),
    "released/mmssl": (
        {"weight-decay", "l2-weight", "graph-topk", "gradient-penalty"},
        "the ranges are those of the paper, where the program has other values",
    ),
    "demo/mmssl": (
        {"lr", "feature-scaling", "eta", "graph-topk", "contrast-weight"},
        "the synthetic shop is smaller and its signal stronger",
    ),
}


@pytest.mark.parametrize(
    "path",
    [path for path in PRESETS.rglob("*.toml") if path.parent != RANGES],
    ids=lambda path: str(path.relative_to(PRESETS).with_suffix("")),
)
def test_a_shipped_preset_lies_within_the_ranges_of_its_model(path: Path) -> None:
    preset = parse_toml(path, "")
    ranges = {name.replace("_", "-"): of for name, of in shipped_space(path.stem).items()}
    outside = {key for key, of in ranges.items() if key in preset and not contains(of, preset[key])}
    exempt, _ = OUTSIDE.get(str(path.relative_to(PRESETS).with_suffix("").as_posix()), (set(), ""))
    assert outside == exempt


@pytest.mark.parametrize("path", sorted(RANGES.glob("*.toml")), ids=lambda path: path.stem)
def test_a_file_of_ranges_has_published_settings_or_says_why_not(path: Path) -> None:
    starts = parse_toml(path, "").get("starts", [])
    assert bool(starts) != ("# No start" in path.read_text())
    assert all(start.get("source") for start in starts)


def test_mmssl_starts_with_the_settings_of_its_paper() -> None:
    paper = parse_toml(PRESETS / "paper/mmssl.toml", "")
    ranges = {name.replace("_", "-") for name in shipped_space("mmssl")}
    assert {name.replace("_", "-"): value for name, value in shipped_starts("mmssl")[0].items()} == {
        key: value for key, value in paper.items() if key in ranges
    }


@pytest.mark.parametrize("model", [model for model in SETTINGS if model != "pop"])
def test_the_average_of_the_weights_is_searched_for_every_trained_model(model: str) -> None:
    fitted = issubclass(SETTINGS[model], FittedSettings)
    assert shipped_space(model).get("weight_averaging") == (None if fitted else Choices((0.0, 0.99)))
