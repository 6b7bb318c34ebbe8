"""Every model of the registry has what the program asks of a model."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mmssl_cli.config import SETTINGS, build_settings, settings_class
from mmssl_cli.config.classes import describe
from mmssl_cli.config.registry import MODELS
from mmssl_cli.config.train import FittedSettings, TrainSettings
from mmssl_cli.experiments.tuning.space import shipped_space
from mmssl_cli.models.registry import build_model
from pipelines.errors import UsageError
from tests.conftest import ROOT, Answer
from tests.helpers.model_cases import toy_data

Cli = Callable[..., Answer]


@pytest.mark.parametrize("name", MODELS)
def test_a_model_has_settings_a_paper_and_ranges(name: str) -> None:
    settings = SETTINGS[name]
    assert issubclass(settings, TrainSettings) and settings().model == build_settings({"model": name}).model == name
    assert settings.__doc__ != TrainSettings.__doc__ and settings.__doc__
    assert settings.paper is None or re.search(r"\b(19|20)\d\d$", settings.paper)
    assert all(field.description for field in settings.model_fields.values())
    if name == "pop":
        with pytest.raises(UsageError, match="no settings to search"):
            shipped_space(name)
    else:
        assert ("lr" in shipped_space(name)) != issubclass(settings, FittedSettings)


def test_the_listing_agrees_with_the_classes() -> None:
    path, now = ROOT / "mmssl_cli" / "config" / "listing.json", {model: describe(model) for model in MODELS}
    if os.environ.get("UPDATE_SNAPSHOTS"):
        rows = (f"{json.dumps(model)}: {json.dumps(row, ensure_ascii=False)}" for model, row in now.items())
        path.write_text("{\n" + ",\n".join(rows) + "\n}\n", encoding="utf-8")
    assert json.loads(path.read_text(encoding="utf-8")) == now, "UPDATE_SNAPSHOTS=1 writes listing.json anew"


def test_a_model_without_a_row_in_the_listing_is_listed(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = cli("models", "--json").out
    monkeypatch.setattr("mmssl_cli.commands.models.listing", dict)
    assert cli("models", "--json").out == listed


def test_listing_imports_no_settings_class() -> None:
    code = (
        "import sys; from mmssl_cli.app import app; app(args=['models'], standalone_mode=False); "
        "print('mmssl_cli.config.train' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr.split() == ["False"]
    assert "LightGCN" in done.stdout


def test_an_unknown_model_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"no model 'lightgnc': did you mean lightgcn"):
        settings_class("lightgnc")
    with pytest.raises(UsageError, match="no model 'lightgnc'"):
        build_model(toy_data(), build_settings({"model": "mf"}).model_copy(update={"model": "lightgnc"}))


def test_a_default_alone_keeps_bounds_and_description() -> None:
    class Settings(TrainSettings):
        epochs: int = 3

    field, base = Settings.model_fields["epochs"], TrainSettings.model_fields["epochs"]
    assert (field.default, field.description) == (3, base.description)
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        Settings(epochs=0)


def test_ranges_of_a_model_without_a_file_are_those_of_its_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmssl_cli.experiments.tuning.space.RANGES", Path("nowhere"))
    assert set(shipped_space("mf")) == {"lr", "l2_weight", "weight_averaging"}
    monkeypatch.setattr(SETTINGS["mf"], "ranges", {"epochs": [0, 3]})
    with pytest.raises(UsageError, match="MFSettings: --epochs cannot be 0"):
        shipped_space("mf")
