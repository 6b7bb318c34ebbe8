"""Errors of the Python interface name keywords, not flags."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

import mmssl_cli as mmssl
from mmssl_cli.api.wording import keywords_in_errors
from pipelines.errors import InputError, MmsslError, UsageError


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("--lr cannot be -1.", "lr cannot be -1."),
        ("Choose a lower --k-core.", "Choose a lower k_core."),
        ("Leave out --no-train-features.", "Leave out train_features=False."),
        ("Give --from FOLDER or --dataset.", "Give from_ FOLDER or data."),
        ("Choose another --place.", "Choose another place."),
        ("Call `mmssl prep --k-core 0`, with --k-core.", "Call `mmssl prep --k-core 0`, with k_core."),
        ("Add --yes, or item--lr.", "Add --yes, or item--lr."),
        ("Did you mean batch-size?", "Did you mean batch_size?"),
        ("No file runs/batch-size of lightgcn-m.", "No file runs/batch-size of lightgcn-m."),
    ],
)
def test_sentence(sentence: str, expected: str) -> None:
    @keywords_in_errors
    def refuse(place: str) -> None:
        """Docstring."""
        raise InputError(sentence)

    with pytest.raises(InputError) as caught:
        refuse("here")
    assert str(caught.value) == expected
    assert refuse.__doc__ == "Docstring." and "place" in inspect.signature(refuse).parameters


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda data: mmssl.train("lightgcn", data, lr=-1), "lr cannot be -1"),
        (lambda data: mmssl.compare(data, ["mf"], metrics=["f1"]), "metrics cannot be 'f1'"),
        (lambda data: mmssl.sparsity(data, ["mf"], select_on="f1"), "select_on cannot be 'f1'"),
        (lambda data: mmssl.tune("mf", data, lr=-1), "lr cannot be -1"),
    ],
)
def test_functions(data: mmssl.Dataset, call: Callable[[mmssl.Dataset], object], sentence: str) -> None:
    with pytest.raises(MmsslError, match=f"^{sentence}") as caught:
        call(data)
    assert "--" not in str(caught.value)


def test_prepare(tmp_path: Path) -> None:
    clicks = pd.DataFrame({"user": [1, 2], "item": [1, 2]})
    with pytest.raises(InputError, match=r"choose a lower k_core\.$"):
        mmssl.prepare("shop", data_dir=tmp_path, interactions=clicks)


def test_methods_of_a_run(run: mmssl.Run) -> None:
    with pytest.raises(UsageError, match=r"prepared with split cold-items or k_core 0\.$"):
        run.recommend(candidates="cold")
