"""`mmssl models`, and what all listings have in common."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mmssl_cli.config import SETTINGS
from mmssl_cli.models.registry import model_class
from tests.conftest import Answer

Cli = Callable[..., Answer]


@pytest.mark.parametrize("command", ["train --dataset", "models mf --dataset", "export --out x"])
def test_an_empty_name_of_a_data_set_is_refused(cli: Cli, command: str) -> None:
    answer = cli(*command.split(), "")
    assert (answer.code, answer.out) == (2, "")
    assert "The name of the data set is empty; " in answer.err


def test_models_lists_the_registry_and_one_models_settings(cli: Cli) -> None:
    listed = json.loads(cli("models", "--json").out)
    assert {model["model"]: model["settings"] for model in listed} == {
        name: len(cls.model_fields) for name, cls in SETTINGS.items()
    }
    assert {model["model"]: model["paper"] for model in listed}["lightgcn"] == "He et al., SIGIR 2020"
    assert "Wei et al., WWW 2023" in cli("models").out

    settings = {setting["setting"]: setting for setting in json.loads(cli("models", "mmssl", "--json").out)}
    assert set(settings) == {name.replace("_", "-") for name in SETTINGS["mmssl"].model_fields}
    assert settings["dropout"]["allowed"] == "float >= 0, < 1"
    assert settings["modalities"]["allowed"] == "str,..."
    assert settings["adjacency"]["allowed"] == "sym | left"
    assert settings["ks"]["default"] == [10, 20, 50]
    assert "Sec. 4.3.1" in cli("models", "mmssl").out
    unknown = cli("models", "lightgc")
    assert unknown.code == 2
    assert "did you mean lightgcn or lightgcn-m?" in unknown.words


def test_models_says_which_rank_cold_items(cli: Cli) -> None:
    listed = json.loads(cli("models", "--json").out)
    assert {model["model"]: model["cold_items"] for model in listed} == {
        name: model_class(name).cold_items is not None for name in SETTINGS
    }
    header, *_ = cli("models").out.splitlines()
    assert header.split()[-3:] == ["Cold", "items", "Settings"]


def test_models_shows_settings_as_a_data_set_uses_them(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shipped" / "tiktok").mkdir(parents=True)
    (tmp_path / "shipped" / "tiktok" / "mf.toml").write_text("lr = 0.25\nks = [7]\nbatch-size = 1024\n")
    monkeypatch.setattr("mmssl_cli.config.presets.SHIPPED", tmp_path / "shipped")

    rows = {row["setting"]: row for row in json.loads(cli("models", "mf", "--dataset", "tiktok", "--json").out)}

    assert (rows["lr"]["value"], rows["lr"]["default"]) == (0.25, 0.001)
    assert (rows["ks"]["value"], rows["dataset"]["value"]) == ([7], "tiktok")
    differ = {name for name, row in rows.items() if row["value"] != row["default"]}
    assert differ == {"lr", "ks", "dataset"}
    lines = cli("models", "mf", "--dataset", "tiktok").out.splitlines()
    assert lines[0].split() == ["Setting", "Value", "Default", "Allowed", "Description"]
    assert lines[-1] == "Settings shipped for mf on tiktok: lr 0.25, ks 7."
    none = cli("models", "mf", "--dataset", "demo").out.splitlines()[-1]
    assert none == "No setting shipped for mf on demo overrides a default."
    assert "did you mean tiktok?" in cli("models", "mf", "--dataset", "tiktk").words
    assert cli("models", "--dataset", "tiktok").code == 2


@pytest.mark.parametrize(
    "arguments",
    [["models"], ["models", "mmssl", "--json"], ["models", "mf", "--dataset", "demo"], ["runs"], ["train", "--help"]],
)
def test_listing_needs_no_torch(process: Callable[..., Answer], arguments: list[str], tmp_path: Path) -> None:
    # `python -m` looks in the working folder first.
    (tmp_path / "torch.py").write_text("raise RuntimeError('torch was imported')\n")

    answer = process(*arguments)

    assert answer.code == 0, answer.err
    assert answer.out


@pytest.mark.parametrize("command", ["evaluate", "recommend", "runs", "models"])
def test_help_shows_an_example(cli: Cli, command: str) -> None:
    assert f"Example: mmssl {command}" in cli(command, "--help").words
