"""Two processes that share out each step answer as one does: losses, gradients, batch statistics, trainings."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
import torch.multiprocessing as mp

from tests.helpers.shared_folder import made_once
from tests.helpers.sharing_cases import CASES, take_part

SIZE = 2


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The answers of both processes; they meet in a file, so that no port is needed."""
    folder = made_once(tmp_path_factory, "collectives", lambda folder: mp.spawn(take_part, (SIZE, folder), SIZE))
    return [torch.load(folder / f"{rank}.pt") for rank in range(SIZE)]


@pytest.mark.parametrize("case", CASES)
def test_two_processes_answer_as_one(case: str, shared: list[dict[str, Any]]) -> None:
    alone = CASES[case]()
    assert any(value.is_floating_point() and value.any() for value in alone.values())
    # Adam brings gradients that are nought but rounding to the size of any other.
    # bfloat16 has 8 bits: what is rounded otherwise once differs by that much.
    tolerance = {"rtol": 2e-2, "atol": 2e-2} if case == "bfloat16" else {"rtol": 1e-4, "atol": 5e-5}
    for found in shared:
        assert found[case].keys() == alone.keys()
        for name, value in alone.items():
            if re.fullmatch(r"weights fine\.\d\.bias", name):
                continue  # it raises all scores of an anchor alike: its gradient is nought but rounding
            torch.testing.assert_close(found[case][name], value, **tolerance, msg=lambda text, at=name: f"{at}: {text}")


@pytest.mark.parametrize("case", CASES)
def test_both_processes_have_the_very_same_weights(case: str, shared: list[dict[str, Any]]) -> None:
    first, second = (found[case] for found in shared)
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_a_problem_of_one_is_said_by_the_first(shared: list[dict[str, Any]]) -> None:
    (first, *_), (second, *_) = shared[0]["problems"]
    assert first == "MmsslError: Process 1 of 2: no such file"
    assert second.startswith("ReportedByRankZero")


def test_processes_of_other_settings_are_refused_and_a_device_says_how_many_there_are(
    shared: list[dict[str, Any]],
) -> None:
    for _, sentence, device in shared[0]["problems"]:
        assert sentence.startswith("UsageError: The processes have different settings")
        assert device.startswith("2 x cpu")
