"""`mmssl tune` with real trainings on a small data set: what it draws, what it keeps, how it goes on."""

from __future__ import annotations

import csv
import json
import re
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmssl_cli.config import SETTINGS, FittedSettings, build_settings, merge_settings
from mmssl_cli.config.presets import shipped_settings
from mmssl_cli.console.training import Reporter
from mmssl_cli.experiments.tuning.carry_out import PATIENCE
from mmssl_cli.experiments.tuning.search import _Rising
from mmssl_cli.experiments.tuning.space import RANGES, Choices, Span, read_starts, shipped_space, shipped_starts
from mmssl_cli.experiments.tuning.study import Search, _drawn
from mmssl_cli.training.loop import TrainingLoop
from mmssl_cli.training.trainer import fit, train_run
from pipelines.errors import InputError, UsageError
from tests.conftest import ROOT, Answer
from tests.helpers.model_cases import write_toy

pytestmark = pytest.mark.usefixtures("inline_runs")

Cli = Callable[..., Answer]
SEARCH = ("--select-on", "recall@5", "--ranges", "ranges.toml", "--seeds", "1")
SMALL = {"--dataset": "toy", "--embedding-dim": 8, "--batch-size": 32, "--epochs": 3, "--ks": 5, "--device": "cpu"}


@pytest.fixture
def tune(cli: Cli, tmp_path: Path) -> Cli:
    write_toy(tmp_path / "data")
    Path("ranges.toml").write_text(
        'lr = { low = 1e-3, high = 1e-1, log = true }\nuser-sampling = ["interaction", "user"]\nepochs = [50]\n'
    )

    def run(*arguments: object, model: str = "mf") -> Answer:
        flags = [part for pair in SMALL.items() for part in pair]
        return cli("tune", model, *flags, *SEARCH, *arguments)

    return run


def trials() -> list[dict[str, str]]:
    with Path("tuning/mf-toy.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_best_trial_on_validation_is_kept_and_trains_to_the_same_score(tune: Cli, cli: Cli) -> None:
    answer = tune("--trials", 3, "--json")
    assert answer.code == 0, answer.err
    told = json.loads(answer.out)
    assert len(trials()) == len(told["trials"]) == 3
    best = max(told["trials"], key=lambda trial: trial["score"])
    assert told["best"]["score"] == best["score"]
    kept = tomllib.loads(Path("tuning/mf-toy.toml").read_text())
    assert kept["lr"] == best["drawn"]["lr"] and kept["user-sampling"] == best["drawn"]["user_sampling"]
    assert kept["epochs"] == 3  # given, and therefore fixed, whatever its range says
    assert kept["provenance"]["trials"] == 3 and kept["provenance"]["validation"] == {"recall@5": best["score"]}
    trained = cli("train", "--config", "tuning/mf-toy.toml", "--json")
    assert trained.code == 0, trained.err
    assert json.loads(trained.out)["runs"][0]["validation"]["recall@5"] == pytest.approx(best["score"])


def test_more_trials_extend_a_search_and_none_is_made_twice(tune: Cli) -> None:
    tune("--trials", 2)
    before = trials()
    again = tune("--trials", 2)
    assert again.code == 0 and trials() == before and "2 of 2 trials are already done" in again.err
    longer = tune("--trials", 3)
    assert longer.code == 0 and trials()[:2] == before and len(trials()) == 3
    refused = tune("--trials", 1, "--epochs", 2)
    assert refused.code == 1 and "--replace" in refused.err and len(trials()) == 3
    assert "another search (another --epochs)" in refused.words
    assert tune("--trials", 1, "--epochs", 2, "--replace").code == 0
    assert len(trials()) == 1  # other fixed settings are another search


def test_a_seed_gives_the_same_trials_again_those_that_are_pruned_too(tune: Cli) -> None:
    starts = [f"[[starts]]\nlr = {lr}\nweight-decay = {decay}\n" for lr in (0.05, 1e-7) for decay in (1e-6, 1e-5, 1e-4)]
    ranges = "lr = [0.05, 1e-7]\nweight-decay = { low = 1e-6, high = 1e-2, log = true }\n"
    Path("ranges.toml").write_text(ranges + "".join(starts))
    found = []
    for out in ("one", "other"):
        answer = tune("--trials", 8, "--epochs", 45, "--patience", 45, "--out", out, "--search-seed", 3, "--json")
        assert answer.code == 0, answer.err
        trials = json.loads(answer.out)["trials"]
        found.append([{name: value for name, value in trial.items() if "seconds" not in name} for trial in trials])
    assert found[0] == found[1]
    pruned = [trial for trial in found[0] if trial["state"] == "pruned"]
    assert pruned and all(30 <= trial["epochs"] < 45 for trial in pruned)


def test_a_trial_is_trained_as_train_does_and_never_tested(tmp_path: Path) -> None:
    write_toy(tmp_path / "data")
    settings = build_settings(
        {"dataset": "toy", "model": "mf", "epochs": 6, "evaluate_every": 2, "ks": (5,), "select_on": "recall@5"}
    )
    seen: list[int] = []
    state, whole = fit(settings, tmp_path / "data", lambda epoch, score: not seen.append(epoch))  # type: ignore[func-returns-value]
    record = train_run(settings, tmp_path / "data", tmp_path / "runs", reporter=Reporter()).record
    assert (state.best_epoch, len(state.records)) == (record["best_epoch"], record["epochs"])
    assert state.best_score == record["validation"]["recall@5"] and whole and seen == [2, 4, 6]
    state, whole = fit(settings, tmp_path / "data", lambda epoch, score: False)
    assert not whole and len(state.records) == 2


def test_a_trial_that_fails_is_kept_as_such_and_the_others_go_on(tune: Cli) -> None:
    Path("ranges.toml").write_text("lr = [1e30, 0.01]\n")
    answer = tune("--trials", 4, "--epochs", 3)
    assert answer.code == 0, answer.err
    states = {row["lr"]: row["state"] for row in trials()}
    assert states["0.01"] == "complete" and states.get("1e+30") in (None, "failed")
    Path("ranges.toml").write_text("l2-weight = [0.0]\n")
    lost = tune("--trials", 1, "--replace", "--lr", 1e30)
    assert lost.code == 1 and "No trial of 1 gave a score" in lost.err


def test_a_search_ends_with_its_minutes_and_says_both_limits(tune: Cli) -> None:
    answer = tune("--trials", 5, "--minutes", 0.0001)
    assert answer.code == 0, answer.err
    assert len(trials()) == 1 and "1 trial (at most 5)" in answer.words and "(at most 0.0001)" in answer.words
    assert tune("--trials", 5, "--minutes", 0).code == 0 and len(trials()) == 1


def test_no_trial_is_trained_twice_and_the_search_ends_where_its_ranges_do(tune: Cli) -> None:
    Path("ranges.toml").write_text("lr = [0.01, 0.02, 0.03]\n")
    answer = tune("--trials", 9)
    assert answer.code == 0, answer.err
    assert sorted(row["lr"] for row in trials()) == ["0.001", "0.01", "0.02", "0.03"]  # the default as well
    assert "All combinations of the values have been tried" in answer.err


def test_values_that_the_sampler_leaves_out_are_drawn_at_random(tune: Cli) -> None:
    Path("ranges.toml").write_text("l2-weight = [0.0, 1e-4, 1e-3, 1e-2]\nweight-decay = [0.0, 1e-3]\n")
    answer = tune("--trials", 8, "--epochs", 1)
    assert answer.code == 0, answer.err
    assert len({(row["l2_weight"], row["weight_decay"]) for row in trials()}) == 8


def test_published_settings_are_tried_after_the_defaults(tune: Cli) -> None:
    Path("ranges.toml").write_text(
        "lr = { low = 1e-3, high = 1e-1, log = true }\nl2-weight = [0.0, 1e-4]\n"
        '[[starts]]\nsource = "a paper"\nlr = 0.05\nl2-weight = 1e-4\n'
    )
    assert tune("--trials", 2).code == 0
    assert [(float(row["lr"]), float(row["l2_weight"])) for row in trials()] == [(0.001, 0.0), (0.05, 1e-4)]


def test_settings_shipped_for_the_data_set_are_tried_too_unless_a_preset_is_named(cli: Cli, tmp_path: Path) -> None:
    write_toy(tmp_path / "data").joinpath("toy").rename(tmp_path / "data" / "tiktok")
    Path("ranges.toml").write_text(
        "lr = { low = 1e-3, high = 1e-1, log = true }\nl2-weight = [0.0, 1e-4]\n"
        '[[starts]]\nsource = "a paper"\nlr = 0.05\nl2-weight = 1e-4\n'
    )
    shipped = shipped_settings("tiktok", "mf")
    flags = [part for pair in {**SMALL, "--dataset": "tiktok", "--trials": 2}.items() for part in pair]
    for preset, second in ([], (shipped["lr"], shipped["l2_weight"])), (["--preset", "none"], (0.05, 1e-4)):
        answer = cli("tune", "mf", *flags, *SEARCH, *preset, "--out", "".join(preset) or "tuning", "--json")
        assert answer.code == 0, answer.err
        drawn = [(trial["drawn"]["lr"], trial["drawn"]["l2_weight"]) for trial in json.loads(answer.out)["trials"]]
        assert drawn[:2] == [(0.001, 0.0), second]


def test_the_best_mean_over_seeds_wins(tune: Cli, cli: Cli) -> None:
    answer = tune("--trials", 4, "--finalists", 2, "--seeds", 3, "--json")
    assert answer.code == 0, answer.err
    told = json.loads(answer.out)
    finalists = [trial for trial in told["trials"] if trial["scores"]]
    ranked = sorted(told["trials"], key=lambda trial: -trial["score"])
    assert {trial["number"] for trial in finalists} == {trial["number"] for trial in ranked[:2]}
    means = {trial["number"]: sum(trial["scores"]) / 3 for trial in finalists}
    assert told["best"]["number"] == max(means, key=means.__getitem__)
    kept = tomllib.loads(Path("tuning/mf-toy.toml").read_text())
    assert kept["provenance"]["validation"]["recall@5"] == pytest.approx(max(means.values()))
    trained = cli("train", "--config", "tuning/mf-toy.toml", "--runs", 3, "--json")
    scores = [run["validation"]["recall@5"] for run in json.loads(trained.out)["runs"]]
    assert scores == pytest.approx(told["best"]["scores"])
    again = tune("--trials", 4, "--finalists", 2, "--seeds", 3, "--json")
    assert json.loads(again.out) == told and "finalist" not in again.err
    assert all((trial["further_cpu_seconds"] > 0) == bool(trial["scores"]) for trial in told["trials"])
    minutes = (
        r"in \d+\.\d+ processor minutes \(at most 90\), and 2 finalists with further seeds in \d+\.\d+: \d+\.\d+ in all"
    )
    assert re.search(minutes, tune("--trials", 4, "--finalists", 2, "--seeds", 3).words)


def test_a_rising_curve_is_not_pruned() -> None:
    rising = _Rising()
    assert [rising.at(epoch, min(epoch, 4)) for epoch in range(1, 11)] == [True] * 8 + [False] * 2


def test_several_models_have_the_same_budget_each_and_compare_takes_what_was_found(tune: Cli, cli: Cli) -> None:
    flags = [part for pair in SMALL.items() for part in pair]
    usual = ("--select-on", "recall@5", "--trials", 2, "--seeds", 1)
    answer = cli("tune", "mf,lightgcn", "ease", *flags, *usual, "--json")
    assert answer.code == 0, answer.err
    told = json.loads(answer.out)
    assert [search["model"] for search in told] == ["mf", "lightgcn", "ease"]
    assert all(len(search["trials"]) == 2 and Path(search["file"]).is_file() for search in told)
    assert "ease on toy: at most 2 trials" in answer.err
    again = cli("tune", "mf,lightgcn,ease", *flags, *usual)
    assert again.code == 0 and "processor hours" in again.words and "--config tuning --runs 3" in again.words
    compared = cli("compare", "--models", "mf,ease,pop", "--dataset", "toy", "--config", "tuning", "--ks", 5, "--json")
    assert compared.code == 0, compared.err
    assert "No settings in tuning for pop" in compared.words
    for search in (told[0], told[2]):
        run = next(path for path in Path("runs").iterdir() if f"-{search['model']}-" in path.name)
        trained = tomllib.loads((run / "config.toml").read_text())
        for name, value in search["best"]["drawn"].items():
            assert trained[name.replace("_", "-")] == value
    assert cli("train", "--model", "mf", "--dataset", "toy", "--config", "tuning", "--continue").code == 0
    assert len(list(Path("runs").glob("*-mf-*"))) == 1  # the same settings


def test_a_folder_without_settings_for_any_of_the_models_is_refused(tune: Cli, cli: Cli) -> None:
    Path("found").mkdir()
    answer = cli("compare", "--models", "mf,pop", "--dataset", "toy", "--config", "found")
    assert answer.code == 2 and "--config found has no settings for mf, pop on toy" in answer.words
    assert "mf-toy.toml" in answer.words and not Path("runs").exists()
    Path("found/pop-toy.toml").write_text('model = "pop"\n')
    flags = ("--model", "mf", "--dataset", "toy", "--config", "found")
    for command in ("train", "train --runs 2 --jobs 2", "sweep --param d=8"):
        answer = cli(*command.split(), *flags)
        assert answer.code == 2 and "--config found has no settings for mf on toy: expected" in answer.words
    answer = cli("train", "--resume", "x", "--config", "found")
    assert answer.code == 2 and "--config found is a folder, and --resume keeps the run's settings" in answer.words
    assert not Path("runs").exists()
    refused = cli("tune", "mf", "--dataset", "toy", "--config", "found")
    assert refused.code == 2 and "--config found is a folder" in refused.words


def test_a_baseline_without_settings_in_the_folder_is_named(tune: Cli, cli: Cli) -> None:
    Path("found").mkdir()
    Path("found/lightgcn-toy.toml").write_text('model = "lightgcn"\n')
    flags = ("--model", "lightgcn", "--dataset", "toy", "--ks", 5, "--select-on", "recall@5", "--config", "found")
    answer = cli("sweep", *flags, "--param", "d=8", "--baseline", "mf", "--dry-run")
    assert answer.code == 0 and "No settings in found for mf: shipped settings or defaults are used." in answer.words


def test_all_models_are_those_with_ranges_that_can_do_without_content(tune: Cli, cli: Cli) -> None:
    flags = [part for pair in SMALL.items() for part in pair]
    answer = cli("tune", "all", *flags, "--modalities", "none", "--select-on", "recall@5", "--minutes", 0)
    assert answer.code == 1 and "No trial of mf was begun within the minutes given" in answer.words
    assert "of pop" not in answer.words
    assert "Left out, as --modalities none leaves them without item features: vbpr" in answer.words
    assert cli("tune", "pop", "--dataset", "toy").code == 2


def _kill(folder: Path, flags: dict[str, object], is_due: Callable[[], bool]) -> list[object]:
    """Kill a search of MF as soon as a condition holds, and return the flags that resume it with ``tune``."""
    given = [str(part) for pair in {**SMALL, **flags}.items() for part in pair]
    command = [sys.executable, "-m", "mmssl_cli", "tune", "mf", *given, *SEARCH]
    process = subprocess.Popen(command, cwd=folder, env={"PYTHONPATH": f"{folder}:{ROOT}"})
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not is_due():
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert is_due() and not (folder / "tuning/mf-toy.toml").exists()
    return [part for pair in flags.items() for part in pair]


@pytest.mark.slow
def test_after_a_kill_before_a_checkpoint_the_trial_under_way_is_made_again(tune: Cli, tmp_path: Path) -> None:
    journal = tmp_path / "tuning/mf-toy.journal"
    flags: dict[str, object] = {"--epochs": 400, "--patience": 400, "--evaluate-every": 5, "--trials": 2}
    rest = _kill(tmp_path, flags, lambda: journal.exists() and b'"op_code":7' in journal.read_bytes())  # a score
    answer = tune(*rest)
    assert answer.code == 0, answer.err
    assert [row["state"] for row in trials()] == ["complete", "complete"]


@pytest.mark.slow
def test_after_a_kill_the_trial_under_way_is_resumed(
    tune: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each process of Python imports this: workers write a checkpoint after every epoch, however fast the machine is.
    hook = "import mmssl_cli.training.checkpoint as module\nmodule._SECONDS = module._RATIO = 0.0\n"
    (tmp_path / "sitecustomize.py").write_text(hook)
    journal = tmp_path / "tuning/mf-toy.journal"
    flags: dict[str, object] = {"--epochs": 2500, "--patience": 2500, "--evaluate-every": 100, "--lr": 0.01}
    rest = _kill(tmp_path, {**flags, "--trials": 1}, lambda: journal.exists() and b'"step":500' in journal.read_bytes())
    assert [*tmp_path.glob("tuning/*.checkpoints/*.pt")]
    trained: list[int] = []
    run_epoch = TrainingLoop.run_epoch
    monkeypatch.setattr(TrainingLoop, "run_epoch", lambda loop: trained.append(loop.epoch) or run_epoch(loop))
    answer = tune(*rest)
    assert answer.code == 0, answer.err
    [resumed] = trials()
    assert resumed["state"] == "complete" and resumed["epochs"] == "2500"
    assert trained[0] >= 499 and trained[-1] == 2499
    assert not [*tmp_path.glob("tuning/*.checkpoints")]
    assert tune(*rest, "--out", "whole").code == 0
    Path("whole/mf-toy.csv").rename("tuning/mf-toy.csv")
    [whole] = trials()
    assert (resumed["score"], resumed["best_epoch"]) == (whole["score"], whole["best_epoch"])


@pytest.mark.parametrize("model", [model for model in SETTINGS if model != "pop"])
def test_the_ranges_shipped_for_a_model_are_valid(model: str) -> None:
    space = shipped_space(model)
    assert space and all(isinstance(of, Choices | Span) for of in space.values())
    assert ("lr" in space) != issubclass(SETTINGS[model], FittedSettings)
    middle = {name: of.values[0] if isinstance(of, Choices) else of.low for name, of in space.items()}
    build_settings({"model": model, **middle})


def test_a_model_without_settings_of_its_own_has_nothing_to_search() -> None:
    with pytest.raises(UsageError, match="no settings to search"):
        shipped_space("pop")


def test_every_shipped_range_belongs_to_a_model() -> None:
    assert {path.stem for path in RANGES.glob("*.toml")} <= set(SETTINGS)


@pytest.mark.parametrize("model", SETTINGS)
def test_the_settings_to_try_first_are_valid(model: str) -> None:
    for start in shipped_starts(model):
        build_settings({"model": model, **start})


def test_what_is_drawn_are_values_of_settings() -> None:
    space = {"layers": Choices((1, 3)), "lr": Span(1e-4, 1e-2, True), "graph_topk": Span(5, 20)}
    assert _drawn({"layers": 1, "lr": 0.00123456, "graph_topk": 7}, space) == {
        "layers": 3,
        "lr": 0.00123,
        "graph_topk": 7,
    }
    base = build_settings({"model": "mmssl"})
    search = Search(base, space, "data")
    assert search.settings({"layers": 3}).layers == 3  # type: ignore[attr-defined]
    assert len({search.name, Search(base, space, "other").name, Search(base, {}, "data").name}) == 3


@pytest.mark.parametrize(
    ("text", "error", "sentence"),
    [
        ("lrr = [1]", UsageError, "did you mean lr"),
        ("lr = []", InputError, "expected a list of values"),
        ("lr = { low = 1, high = 0.1 }", InputError, "expected a list of values"),
        ("lr = { low = 0, high = 0.1, log = true }", InputError, "expected a list of values"),
        ("lr = [-1]", UsageError, "lr cannot be -1"),
        ("lr = [", InputError, "is not valid TOML"),
        ("", InputError, "holds no range"),
        ("[ranges]\nlr = [1]", UsageError, r"has a table \[ranges\]; write its ranges without a heading"),
        ("lr = [1]\n[[start]]\nlr = 1", UsageError, r"settings to try first are tables \[\[starts\]\]"),
        ("model = ['mf', 'pop']", UsageError, "'model', which cannot be searched: name the models"),
        ("select-on = ['ndcg@10']", UsageError, "cannot be searched: it only says what selects the epoch"),
        ("seed = [1, 2]", UsageError, "cannot be searched: --seeds N"),
        ("device = ['cpu']", UsageError, "cannot be searched: it does not change what is computed"),
        ("lr = [1]\nstarts = 3", InputError, "expected starts as tables"),
        ("lr = [1]\n[[starts]]\nlr = 2", InputError, "outside of its range"),
        ("lr = [1]\n[[starts]]\nlayers = 2", UsageError, "has no range"),
        ("lr = [1]\n[[starts]]\npreset = 'tiktok'", InputError, "start 1 has lr = 0.00851, outside of its range"),
        ("lr = [1]\n[[starts]]\npreset = 'tictoc'", UsageError, "the preset 'tictoc': expected DATASET or DATASET/"),
        ("lr = [1]\n[[starts]]\npreset = '../mf'", UsageError, "the preset '../mf': expected DATASET"),
        ("lr = [1]\n[[starts]]\npreset = 3", UsageError, "the preset 3: expected DATASET"),
    ],
)
def test_ranges_that_are_none_are_refused(tmp_path: Path, text: str, error: type[Exception], sentence: str) -> None:
    path = tmp_path / "ranges.toml"
    path.write_text(text)
    with pytest.raises(error, match=sentence):
        read_starts(path, "mf")


def test_a_start_may_name_shipped_settings(tmp_path: Path) -> None:
    path = tmp_path / "ranges.toml"
    path.write_text(
        "lr = { low = 1e-4, high = 1 }\nlayers = [1, 3]\n"
        '[[starts]]\npreset = "tiktok"\n[[starts]]\npreset = "tiktok/mf"\nlayers = 1\n'
    )
    shipped = {model: shipped_settings("tiktok", model) for model in ("lightgcn", "mf")}
    own, of_mf = read_starts(path, "lightgcn")
    assert (own["lr"], own["layers"]) == (shipped["lightgcn"]["lr"], 3)
    assert (of_mf["lr"], of_mf["layers"]) == (shipped["mf"]["lr"], 1)
    assert own["user_sampling"] == shipped["lightgcn"]["user_sampling"]  # though it has no range here
    assert not {"model", "dataset", "epochs", "patience"} & own.keys()


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("--ranges", "nowhere.toml"), 1, "There is no file of ranges nowhere.toml"),
        (("--dataset", "toi"), 2, "toi"),
        (("--trials", 0), 2, "--trials"),
        (("--out", "ranges.toml"), 1, "ranges.toml"),
        (("--layers", 2), 2, "it belongs to"),
    ],
)
def test_bad_input_is_answered(tune: Cli, arguments: tuple[Any, ...], code: int, sentence: str) -> None:
    answer = tune(*arguments)
    assert answer.code == code and sentence in answer.words, answer


def test_a_damaged_search_is_named(tune: Cli) -> None:
    Path("tuning").mkdir()
    Path("tuning/mf-toy.journal").write_text("this is no journal\n" * 3)
    answer = tune("--trials", 1)
    assert answer.code == 1 and "tuning/mf-toy.journal is damaged" in answer.words, answer


def test_what_is_kept_stands_above_the_settings_that_are_shipped(cli: Cli, demo: Path) -> None:
    shipped = merge_settings({"model": "lightgcn", "dataset": "demo"})
    flags = ("--dataset", "demo", "--data-dir", demo.parent, "--trials", 1, "--epochs", 1, "--seeds", 1)
    assert cli("tune", "lightgcn", *flags).code == 0
    kept = merge_settings({}, Path("tuning/lightgcn-demo.toml"))
    searched = build_settings({"model": "lightgcn", "dataset": "demo", "epochs": 1, "patience": PATIENCE})
    assert shipped.batch_size != searched.batch_size  # what this test is about
    space = shipped_space("lightgcn")
    for name, value in searched.model_dump().items():
        if name not in space:
            assert getattr(kept, name) == value, name
