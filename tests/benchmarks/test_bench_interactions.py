"""The benchmark of cleaning and splitting interactions runs, and says what it measured."""

from __future__ import annotations

import json

import pytest

from benchmarks import bench_interactions

SIZES = ["--users", "60", "--items", "40", "--interactions", "1500", "--repeats", "2"]


def test_every_split_is_timed_beside_the_sort(capsys: pytest.CaptureFixture[str]) -> None:
    bench_interactions.main([*SIZES, "--json"])
    report = json.loads(capsys.readouterr().out)
    expected = [bench_interactions.SORT, bench_interactions.READ, *bench_interactions.SPLITS]
    assert [result["what"] for result in report["results"]] == expected
    assert report["results"][0]["ratio"]["median"] == 1
    assert all(result["seconds"]["low"] > 0 for result in report["results"])
    assert report["bytes"]["peak"] >= report["bytes"]["with raw interactions"] > 0
    read, folded, core = (step["interactions"] for step in report["steps"]["ratio"])
    assert read == 1500 > folded > core > 0


def test_the_table_shows_what_was_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    bench_interactions.main([*SIZES, "--splits", "ratio", "--k-core", "2"])
    shown = capsys.readouterr().out
    assert "2-core" in shown and "bare sort" in shown and "peak" in shown
    assert "temporal" not in shown


def test_the_pairs_are_the_same_every_time() -> None:
    first, second = (bench_interactions.random_interactions(50, 30, 400) for _ in range(2))
    assert (first.user == second.user).all() and (first.item == second.item).all()
    assert len(set(first.user_ids)) == 50 and first.user.max() < 50 and first.item.max() < 30
