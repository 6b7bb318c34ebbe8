"""The benchmark of size: every stage is measured, each factor grows alone, and slopes are those of the sizes."""

from __future__ import annotations

import json

import pytest

from benchmarks import bench_size
from benchmarks.growth import START, slopes_of

TINY = {"users": 40, "items": 30, "interactions": 200, "modalities": 1, "batch": 16, "dim": 8}
FLAGS = [*(f"--{name}={size}" for name, size in TINY.items()), "--threads=1", "--steps=1", "--json"]


def test_every_stage_from_the_prepared_data_to_the_checkpoint_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    bench_size.main([*FLAGS, "--feature-dim", "4", "--refreshed", "20", "--ranked", "10", "--set", "ks=10,20"])
    report = json.loads(capsys.readouterr().out)
    assert {name: report["sizes"][name] for name in TINY} == TINY
    stages = [result["stage"] for result in report["stages"]]
    assert stages[0] == "prepare, in another process" and stages[-1] == "write the checkpoint"
    assert {"neighbours of 20 users (Eq. 8)", "evaluate 10 test users", "step"} <= set(stages)
    assert all(result["seconds"] > 0 and result["peak_bytes"] > 0 for result in report["stages"])
    neighbours = next(result for result in report["stages"] if result["stage"].startswith("neighbours"))
    expected = 2 * neighbours["processor_seconds"]  # for 40 users
    assert report["processor_seconds_for_all_users"]["neighbours (Eq. 8)"] == pytest.approx(expected)


def test_each_factor_grows_alone_in_processes_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    bench_size.main([*FLAGS, "--grow", "dim", "--multiples", "1,2", "--rounds", "1"])
    report = json.loads(capsys.readouterr().out)
    assert report["start"] == TINY
    assert [point["what"] for point in report["points"]] == ["dim 8", "dim 16"]
    for point in report["points"]:
        assert point["step_seconds"] > 0 and point["refresh_seconds"] > 0 and point["memory_bytes"] > 0
    assert [row["slope"] for row in report["slopes"]] == ["dim, all sizes", "dim, the last two"]
    assert 0.5 < report["slopes"][0]["multiplications_of_A.3"] < 1  # all of A.3 but the discriminator's B |I|


@pytest.mark.parametrize("more", [[], ["--unclustered"]])
def test_the_search_is_measured_exact_and_approximate(more: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("faiss")
    flags = ["--search", "--users", "50", "--items", "300", "--dim", "8", "--rounds", "1", "--threads", "1", "--json"]
    bench_size.main([*flags, *more])
    report = json.loads(capsys.readouterr().out)
    assert report["sizes"] == {"users": 50, "items": 300, "dim": 8} and report["recall"] >= 0.98
    names = [row["search"] for row in report["results"]]
    assert names[0] == "faiss: the index, once" and names[3:] == ["exact: cosine_topk", "faiss: the search"]
    products = report["results"][1]
    assert products["microseconds_a_user"] == pytest.approx(1e6 * products["processor_seconds"] / 50)


def test_slopes_are_those_of_what_was_measured() -> None:
    points = [{"step_seconds": float(size**2), "memory_bytes": 3.0 * size} for size in (1, 2, 4)]
    assert slopes_of([1, 2, 4], points) == pytest.approx({"step": 2, "memory": 1})


@pytest.mark.parametrize(
    "flags",
    [["--grow", "users,colour"], ["--grow", "all", "--multiples", "2,1"], ["--grow", "dim", "--multiples", "3"]],
)
def test_factors_and_multiples_that_make_no_sense_are_refused(
    flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        bench_size.main(flags)
    assert ended.value.code == 2
    message = capsys.readouterr().err
    assert all(name in message for name in START)
