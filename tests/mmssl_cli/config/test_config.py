"""Settings: their order of strength, their checks, and the way to TOML and back."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmssl_cli.config import (
    SETTINGS,
    build_settings,
    merge_for,
    merge_settings,
    read_toml,
    refuse_idle,
    settings_to_toml,
)
from mmssl_cli.config.presets import SHIPPED, preset_file, sources
from pipelines.errors import InputError, UsageError


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in the place of the shipped settings."""
    monkeypatch.setattr("mmssl_cli.config.presets.SHIPPED", tmp_path / "shipped")
    return tmp_path / "shipped"


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_flags_beat_the_file_beats_the_preset_beats_the_defaults(shipped: Path, tmp_path: Path) -> None:
    _write(shipped / "tiktok" / "lightgcn.toml", "lr = 0.1\nbatch-size = 100\nlayers = 3\n")
    file = _write(tmp_path / "my.toml", 'dataset = "tiktok"\nmodel = "lightgcn"\nlr = 0.2\nbatch_size = 200\n')
    settings = merge_settings({"lr": "0.3", "epochs": None, "preset": "tuned"}, file)
    defaults = SETTINGS["lightgcn"]()
    assert settings.lr == 0.3
    assert settings.batch_size == 200
    assert settings.model_dump()["layers"] == 3
    assert settings.epochs == defaults.epochs
    assert (settings.dataset, settings.model) == ("tiktok", "lightgcn")


def test_a_named_file_or_preset_leaves_the_shipped_settings_out(shipped: Path, tmp_path: Path) -> None:
    _write(shipped / "demo" / "mf.toml", "lr = 0.1\n")
    _write(shipped / "best" / "mf.toml", "epochs = 9\n")
    file = _write(tmp_path / "my.toml", 'model = "lightgcn"\nbatch-size = 7\n')
    mf = {"model": "mf", "dataset": "demo"}
    usual = SETTINGS["mf"]().lr
    assert merge_settings(mf).lr == merge_settings({**mf, "preset": "tuned"}).lr == 0.1
    assert merge_settings(mf, file).lr == usual
    assert merge_settings({**mf, "preset": "none"}).lr == usual
    best = merge_settings({**mf, "preset": "best"}, file)
    assert (best.lr, best.epochs, best.batch_size, best.label) == (usual, 9, 7, "mf (best)")
    _write(file, 'preset = "best"\nmodel = "mf"\n')
    assert merge_settings({"epochs": 3}, file).label == "mf (best)"
    assert merge_settings({"epochs": None}, file).epochs == 9


def test_a_preset_of_a_data_set_comes_before_the_general_one(shipped: Path) -> None:
    for folder, epochs in {"tuned": 1, "best": 2, "best/mine": 3}.items():
        _write(shipped / folder / "mf.toml", f"epochs = {epochs}\n")
    found = [
        merge_settings({"model": "mf", "dataset": dataset, "preset": preset}).epochs
        for preset in ("tuned", "best")
        for dataset in ("mine", "other", "best")
    ]
    assert found == [1, 1, 1, 3, 2, 2]
    assert merge_settings({"model": "mf", "dataset": "mine"}).epochs == SETTINGS["mf"]().epochs


def test_a_preset_that_is_not_there_is_refused_in_a_sentence(shipped: Path) -> None:
    _write(shipped / "paper" / "mf.toml", "epochs = 1\n")
    with pytest.raises(UsageError, match=r"no preset 'best' of mf on demo; --preset can be paper, tuned, none\."):
        merge_settings({"model": "mf", "preset": "best"})
    with pytest.raises(
        UsageError, match="--preset cannot be 'papper': expected one of paper, released, tuned, none, best"
    ):
        merge_settings({"model": "mf", "preset": "papper"})


def test_of_several_models_a_file_and_a_preset_reach_those_that_they_are_for(shipped: Path, tmp_path: Path) -> None:
    for folder, lr in {"demo": 0.1, "paper": 0.2}.items():
        _write(shipped / folder / "mf.toml", f"lr = {lr}\n")
    _write(shipped / "demo" / "lightgcn.toml", "lr = 0.3\n")
    file = _write(tmp_path / "my.toml", 'model = "lightgcn"\nlayers = 1\n')
    assert [merge_for(name, {}, "demo", file).lr for name in ("mf", "lightgcn")] == [0.1, SETTINGS["lightgcn"]().lr]
    assert merge_for("lightgcn", {}, "demo", file).model_dump()["layers"] == 1
    content = {"modalities": ("visual",), "feature_control": "noise"}
    assert [merge_for(name, content, "demo").label for name in ("mf", "pop", "vbpr", "mmssl")] == [
        "mf",
        "pop",
        "vbpr (visual, noise features)",
        "mmssl (visual, noise features)",
    ]
    assert [merge_for(name, {"preset": "paper"}, "demo").lr for name in ("mf", "lightgcn")] == [0.2, 0.3]
    refuse_idle(["mf", "lightgcn"], {"preset": "paper"}, "demo", file)
    with pytest.raises(UsageError, match=r"my.toml is for lightgcn, not mf; train lightgcn, or"):
        refuse_idle(["mf"], {}, "demo", file)
    with pytest.raises(UsageError, match="no preset 'paper' of lightgcn, ngcf on demo"):
        refuse_idle(["lightgcn", "ngcf"], {"preset": "paper"}, "demo")


def test_a_data_set_may_have_the_name_of_the_folder_of_ranges() -> None:
    assert merge_settings({"model": "mf", "dataset": "ranges"}) == build_settings({"model": "mf", "dataset": "ranges"})


def test_every_shipped_file_is_valid() -> None:
    files = [path for path in SHIPPED.rglob("*.toml") if path.parent.name != "ranges"]
    assert {path.parent.name for path in files} >= {"demo", "tiktok", "paper", "released", "tuned"}
    for path in files:
        values = read_toml(path)
        settings = build_settings({**values, "model": path.stem})
        assert set(sources(path)) == set(values) - {"model", "dataset"}
        assert settings.model == values.get("model", path.stem)


@pytest.mark.parametrize("preset", ["paper", "released"])
def test_a_preset_of_the_paper_names_every_setting_and_its_source(preset: str) -> None:
    """Settings left out of such a file would follow the class defaults, which follow searches."""
    apart = {
        *(
            "model",
            "dataset",
            "modalities",
            "seed",
            "device",
            "cuda_graph",
            "precision",
            "ks",
            "metrics",
            "select_on",
            "preset",
        ),
        *("item_epochs", "feature_control", "spectral_hops", "spectral_form", "spectral_item_exponent"),
        *("variant", "generator_lr", "feature_components", "softmax_temperature", "spectral_rank"),  # of parts left off
    }
    path = preset_file(preset, "mmssl", "tiktok")
    assert path is not None
    named, fields = set(read_toml(path)), set(SETTINGS["mmssl"].model_fields)
    assert fields - apart == named, f"name these in {path}, with their source: {fields - apart - named}"
    assert all(sources(path).values()), path
    settings = merge_settings({"dataset": "tiktok", "preset": preset})
    assert settings.model_dump()["omega"] > 0  # Eq. 12


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"model": "mmsl"}, "There is no model 'mmsl': did you mean mmssl"),
        ({"model": ["mf"]}, "There is no model ['mf']"),
        ({"variant": "w/o-GTT"}, "variant cannot be 'w/o-GTT': did you mean w/o-GT"),
        ({"variant": "zzz"}, "choose from full, r/p-GAE, w/o-ASL, w/o-CL, w/o-GT"),
        (
            {"model": "mf", "variant": "full"},
            "Model 'mf' has no setting 'variant' (in the settings); it belongs to mmssl.",
        ),
        ({"grph_topk": 3}, "There is no setting 'grph-topk' (in the settings): did you mean graph-topk"),
        ({"lr": "fast"}, "lr cannot be 'fast': expected a number."),
        ({"lr": 0}, "lr cannot be 0: expected a number above 0."),
        ({"lr": "nan"}, "lr cannot be"),
        ({"lr": "inf"}, "lr cannot be"),
        ({"epochs": 0}, "epochs cannot be 0: expected at least 1."),
        ({"epochs": "2.5"}, "epochs cannot be '2.5': expected a whole number."),
        ({"epochs": True}, "epochs cannot be True: expected a number."),
        ({"lr": False}, "lr cannot be False: expected a number."),
        ({"seed": 2**63}, "expected a number below 9223372036854775808."),
        ({"ks": ""}, "ks cannot be"),
        ({"ks": "10,0"}, "ks cannot be"),
        ({"ks": "ten"}, "ks cannot be 'ten'"),
        ({"modalities": "visual,visual"}, "modalities cannot be"),
        ({"select_on": "hits@20"}, "select-on cannot be 'hits@20': expected recall@K"),
        ({"select_on": "recall@0"}, "select-on cannot be"),
        ({"select_on": "recall@²"}, "select-on cannot be 'recall@²': expected recall@K"),
        ({"model": "diffmm", "noise_min": 0.5}, "noise-max cannot be 0.02: expected at least --noise-min, 0.5"),
        ({"embedding_dim": 10, "heads": 4}, "heads cannot be 4: expected a divisor of embedding-dim (10)."),
    ],
)
def test_a_wrong_value_is_named_with_what_is_right(values: dict[str, Any], expected: str) -> None:
    with pytest.raises(UsageError) as raised:
        build_settings({"model": "mmssl", **values})
    assert expected in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "error", "expected"),
    [
        ("lr = ", InputError, "is not valid TOML"),
        ("grph-topk = 3", UsageError, "There is no setting 'grph-topk' (in "),
        ("[model]\nlr = 1", UsageError, "There is no model"),
        ("batch-size = 1\nbatch_size = 2", InputError, "has a setting twice"),
        ("dataset = 3", UsageError, "--dataset (in {file}) cannot be 3"),
        ("lr = -1", UsageError, "--lr (in {file}) cannot be -1: expected a number above 0"),
        ('model = "mf"\nheads = 2', UsageError, "Model 'mf' has no setting 'heads'"),
        (
            'model = "ease"\nepochs = 2',
            UsageError,
            "Model 'ease' has no setting 'epochs' (in {file}), as ease is fitted at once, not trained in steps.",
        ),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, text: str, error: type[Exception], expected: str) -> None:
    file = _write(tmp_path / "my.toml", text)
    with pytest.raises(error) as raised:
        merge_settings({}, file)
    assert expected.replace("{file}", str(file)) in str(raised.value)


def test_a_wrong_value_of_a_flag_or_a_file_is_named_with_its_place(tmp_path: Path) -> None:
    file = _write(tmp_path / "my.toml", "epochs = 0")
    for merged in (lambda given: merge_settings(given, file), lambda given: merge_for("mf", given, "demo", file)):
        with pytest.raises(UsageError, match=rf"--epochs \(in {file}\) cannot be 0"):
            merged({})
        with pytest.raises(UsageError, match="--epochs cannot be -1"):
            merged({"epochs": -1})
        with pytest.raises(UsageError, match="--lr cannot be -1"):
            merged({"epochs": 2, "lr": -1})


def test_a_setting_that_a_model_lacks_comes_with_the_reason(tmp_path: Path) -> None:
    file = _write(tmp_path / "my.toml", 'model = "mf"\nepochs = 2\n')
    with pytest.raises(UsageError, match=r"\(in .*my\.toml, which is for mf\), as ease is fitted at once"):
        merge_settings({"model": "ease"}, file)
    with pytest.raises(
        UsageError, match="'pop' has no setting 'epochs', as pop is fitted at once, not trained in steps"
    ):
        merge_settings({"model": "pop", "epochs": 2})
    with pytest.raises(UsageError, match="None of pop, ease has a setting 'epochs', as pop, ease are fitted at once"):
        refuse_idle(["pop", "ease"], {"epochs": 2}, "demo")
    with pytest.raises(UsageError, match=r"'mf' has no setting 'layers'; it belongs to [\w, -]+ and \d+ more\.$"):
        merge_settings({"model": "mf", "layers": 2})
    with pytest.raises(UsageError, match=r"^There is no setting 'epoch': did you mean epochs"):
        merge_settings({"epoch": 2})


def test_a_missing_or_unreadable_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no settings file"):
        read_toml(tmp_path / "none.toml")
    with pytest.raises(InputError, match="is a folder; expected a TOML file"):
        read_toml(tmp_path)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="is not valid TOML"):
        read_toml(tmp_path / "binary.toml")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("all", None),
        ("none", ()),
        ("", ()),
        ("visual", ("visual",)),
        (" visual , textual", ("visual", "textual")),
    ],
)
def test_modalities_from_text(text: str, expected: tuple[str, ...] | None) -> None:
    assert build_settings({"modalities": text}).modalities == expected


def test_cut_offs_are_sorted_and_hold_that_of_the_selection() -> None:
    settings = build_settings({"ks": "50,10,10", "select_on": "ndcg@20"})
    assert settings.ks == (10, 50)
    assert settings.all_ks == (10, 20, 50)


_CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "lr": st.floats(1e-9, 10),
        "seed": st.integers(0, 2**63 - 1),
        "ks": st.lists(st.integers(1, 1000), min_size=1).map(tuple),
        "modalities": st.lists(st.sampled_from(["visual", "acoustic", "textual"]), unique=True).map(tuple),
        "dataset": st.text(min_size=1).filter(lambda text: "\r" not in text),
        "cuda_graph": st.booleans(),
        "precision": st.sampled_from(["float32", "tf32", "bfloat16"]),
    },
)


@given(model=st.sampled_from(sorted(SETTINGS)), changes=_CHANGES)
def test_settings_go_to_toml_and_back(model: str, changes: dict[str, Any]) -> None:
    known = {key: value for key, value in changes.items() if key in SETTINGS[model].model_fields}
    settings = build_settings({**known, "model": model})
    text = settings_to_toml(settings, {"started": "2023-01-01"})
    read = {key.replace("-", "_"): value for key, value in tomllib.loads(text).items() if key != "provenance"}
    assert build_settings(read) == settings
    assert tomllib.loads(text)["provenance"] == {"started": "2023-01-01"}


def test_a_saved_configuration_serves_as_a_file(tmp_path: Path, shipped: Path) -> None:
    settings = merge_settings({"model": "mmssl", "graph_topk": "7", "dataset": "demo"})
    file = _write(tmp_path / "config.toml", settings_to_toml(settings, {"device": "cpu"}))
    assert merge_settings({}, file) == settings


def test_the_general_tuned_preset_is_the_defaults() -> None:
    tuned = merge_settings({"dataset": "my-shop", "preset": "tuned"})
    defaults = merge_settings({"dataset": "my-shop", "preset": "none"})
    assert preset_file("tuned", "mmssl", "my-shop") is not None
    assert tuned.model_dump(exclude={"preset"}) == defaults.model_dump(exclude={"preset"})
