"""The benchmark of growth: each factor grows alone, and slopes are those of the sizes."""

from __future__ import annotations

import json

import pytest

from benchmarks import bench_growth
from benchmarks.bench_growth import START

TINY = {"users": 40, "items": 30, "interactions": 80, "modalities": 1, "batch": 16, "dim": 8}


def test_each_factor_grows_alone_in_processes_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    sizes = [f"--{name}={size}" for name, size in TINY.items()]
    flags = ["--factors", "dim", "--multiples", "1,2", "--steps", "1", "--rounds", "1", "--threads", "1"]
    bench_growth.main([*sizes, *flags, "--json"])
    report = json.loads(capsys.readouterr().out)
    assert report["start"] == TINY
    dim = report["factors"]["dim"]
    assert [point["dim"] for point in dim["points"]] == [8, 16]
    for point in dim["points"]:
        assert point["step_seconds"]["median"] > 0 and point["refresh_seconds"]["median"] > 0
        assert point["memory_bytes"]["median"] > 0
    assert 0.5 < dim["counted_slopes"]["paper"] < 1  # all of A.3 but the discriminator's B |I|
    shown = bench_growth._table(report)
    assert "dim 16" in shown and "A.3's count" in shown and "all but B |I|" in shown


def test_slopes_are_those_of_what_was_measured() -> None:
    rounds = [
        {str(size): {m: float(size**power) for m in (*bench_growth.MEASURES, "paper", "own")} for size in (1, 2, 4)}
        for power in (1, 2, 2)
    ]
    found = bench_growth._grown("users", [(size, str(size)) for size in (1, 2, 4)], rounds)
    assert found["slopes"]["step_seconds"] == pytest.approx({"low": 1.5, "median": 2, "high": 2})
    assert found["last_slopes"]["memory_bytes"]["median"] == pytest.approx(2)
    assert found["counted_slopes"]["paper"] == pytest.approx(1)
    assert found["points"][2]["refresh_seconds"]["median"] == 16


@pytest.mark.parametrize("flags", [["--factors", "users,colour"], ["--multiples", "2,1"], ["--multiples", "3"]])
def test_factors_and_multiples_that_make_no_sense_are_refused(
    flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        bench_growth.main(flags)
    assert ended.value.code == 2
    message = capsys.readouterr().err
    assert all(name in message for name in START)
