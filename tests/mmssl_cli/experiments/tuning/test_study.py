"""The trials of a search: those that it starts with, and the one that wins."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from mmssl_cli.config import SETTINGS, build_settings, merge_settings
from mmssl_cli.experiments.tuning.carry_out import define_search, prepare_folder
from mmssl_cli.experiments.tuning.findings import write_best, write_trials
from mmssl_cli.experiments.tuning.space import Choices, Span, shipped_space, shipped_starts
from mmssl_cli.experiments.tuning.study import (
    Search,
    Trial,
    best_of,
    keep_score,
    open_study,
    trials_of,
    with_further,
)
from pipelines.errors import InputError
from tests.helpers.model_cases import write_toy

TRIED = [model for model in SETTINGS if model != "pop"]


def search_of(model: str, **settings: Any) -> Search:
    base = build_settings({"model": model, **settings})
    return Search(base, shipped_space(model), "data", starts=tuple(shipped_starts(model)))


@pytest.mark.parametrize("model", TRIED)
def test_the_first_trial_has_the_defaults_and_the_next_the_published_settings(model: str, tmp_path: Path) -> None:
    search = search_of(model)
    study = open_study(search, tmp_path / "search.journal", 9)
    assert search.settings(search.drawn(search.propose(study))) == search.base
    for start in search.starts:
        assert search.settings(search.drawn(search.propose(study))) == build_settings(
            {**search.base.model_dump(), **start}
        )


def test_searches_of_data_sets_whose_names_begin_alike_have_files_of_their_own(tmp_path: Path) -> None:
    searches = [search_of("itemknn", dataset=name) for name in ("shop.a", "shop.b")]
    (tmp_path / "itemknn-shop.a.toml").write_text("model = 'itemknn'\n")
    with pytest.raises(InputError, match=r"itemknn-shop\.a\.toml is the result of another search"):
        prepare_folder(tmp_path, searches[:1], replace_other=False)
    prepare_folder(tmp_path, searches[1:], replace_other=False)


@pytest.mark.parametrize("model", ["ngcf", "ncl", "mmhcl"])
def test_shipped_settings_are_tried_whole_but_for_how_long_they_train(model: str, tmp_path: Path) -> None:
    (write_toy(tmp_path) / "toy").rename(tmp_path / "tiktok")
    shipped = merge_settings({"model": model, "dataset": "tiktok"})
    given = {"epochs": 7, "patience": 30, "ks": (10, 20)}
    base = merge_settings({"model": model, "dataset": "tiktok", **given}, shipped=False)
    search = define_search(base, tmp_path, fixed=given)
    study = open_study(search, tmp_path / "search.journal", 9)
    search.propose(study)
    tried = search.settings(search.drawn(search.propose(study)))
    assert tried.model_dump() == shipped.model_dump() | given


def test_a_trial_is_recorded_with_the_values_that_its_ranges_do_not_hold(tmp_path: Path) -> None:
    base = build_settings({"model": "mmssl", "lr": 4.321e-3})
    space = {"lr": Span(1e-4, 1e-2, True), "generator_lr": Span(1e-6, 1e-3, True), "layers": Choices((1, 2))}
    search = Search(base, space, "data")
    study = open_study(search, tmp_path / "search.journal", 3)
    first, second = search.propose(study), search.propose(study)
    assert first.params == {"lr": 4.321e-3}  # the sampler learns nothing of values that it cannot draw
    assert second.params.keys() == space.keys()
    study = open_study(search, tmp_path / "search.journal", 3)  # both were cut off: they are enqueued again
    again = search.propose(study)
    study.tell(again, 0.1)
    (recorded,) = trials_of(study, search)
    assert recorded.drawn == search.drawn(again) == {"lr": 4.321e-3, "generator_lr": None, "layers": 3}
    assert search.drawn(search.propose(study)) == search.drawn(second)


def test_the_time_of_further_seeds_is_kept_with_a_trial_and_summed(tmp_path: Path) -> None:
    search = search_of("mf")
    study = open_study(search, tmp_path / "search.journal", 9)
    for score in (0.1, 0.2):
        trial = search.propose(study)
        trial.set_user_attr("score", score)
        trial.set_user_attr("cpu_seconds", 60.0)
        study.tell(trial, score)
    keep_score(study, 0, 2024, {"score": 0.3, "cpu_seconds": 100.0})  # a finalist before the other trial came
    keep_score(study, 1, 2024, {"score": 0.4, "cpu_seconds": 300.0})
    keep_score(study, 1, 2025, {"problem": "diverged", "cpu_seconds": 200.0})
    found = [with_further(study, trial, is_finalist=trial.number == 1) for trial in trials_of(study, search)]
    assert [trial.scores for trial in found] == [(), (0.2, 0.4)]
    assert [trial.further_cpu_seconds for trial in found] == [100.0, 500.0]
    write_best(search, found, found[1], tmp_path / "best.toml")
    provenance = tomllib.loads((tmp_path / "best.toml").read_text())["provenance"]
    assert provenance["processor-minutes"] == 2.0 and provenance["processor-minutes-of-further-seeds"] == 10.0
    write_trials(found, tmp_path / "trials.csv")
    assert "further_cpu_seconds" in (tmp_path / "trials.csv").read_text().splitlines()[0]


def test_a_trial_without_further_seeds_does_not_win_over_the_finalists() -> None:
    def trial(number: int, score: float | None, *scores: float, state: str = "complete") -> Trial:
        return Trial(number, state, {}, score, scores=scores)

    finalists = [trial(0, 0.10, 0.10, 0.06, 0.08), trial(1, 0.11, 0.11, 0.05, 0.05)]
    alone = [trial(2, 0.09), trial(3, 0.12, state="pruned"), trial(4, None, state="failed")]
    assert best_of([*finalists, *alone]) == finalists[0]
    assert best_of(alone) == alone[1]
    lucky = trial(5, 0.2, 0.2)  # failed with the further seeds
    assert best_of([*finalists, lucky]) == finalists[0]
    assert best_of([alone[2]]) is None
