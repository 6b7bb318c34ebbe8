"""The largest of wide rows, through the maxima of chunks, against PyTorch's own search."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmssl_cli.evaluation import topk as module
from mmssl_cli.evaluation.topk import CHUNK, FEWEST, topk


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 4), st.integers(0, 400), st.integers(0, 3), st.integers(0, 10_000))
def test_values_are_those_of_a_whole_search_ties_or_not(k: int, more: int, spread: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    columns = FEWEST * k + more
    drawn = torch.randn(5, columns, generator=generator)
    values = drawn if spread == 3 else (spread * drawn).round()  # 0: all are equal
    values[0, torch.randperm(columns, generator=generator)[: columns - k // 2]] = float("-inf")
    largest, at = topk(values, k)
    assert torch.equal(largest, torch.topk(values, k, dim=1).values)
    assert torch.equal(values.gather(1, at), largest)
    assert all(len(set(row)) == k for row in at.tolist())


def test_wide_rows_are_not_searched_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    searched: list[int] = []
    whole = torch.topk

    def watched(values: torch.Tensor, *given: object, **named: object) -> object:
        searched.append(values.shape[1])
        return whole(values, *given, **named)

    monkeypatch.setattr(module.torch, "topk", watched)
    topk(torch.randn(2, 100 * CHUNK + 5), 3)
    assert searched == [100, 3 * CHUNK + 5]
    topk(torch.randn(2, 303), 3)  # chunks of 10, the root of 303 / 3
    assert searched[2:] == [30, 3 * 10 + 3]
    topk(torch.randn(2, 47), 3)
    assert searched[4:] == [47]
