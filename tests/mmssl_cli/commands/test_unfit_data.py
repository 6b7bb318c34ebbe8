"""Commands that the data set cannot serve refuse at once, in one sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Answer

SHOP = "user,item,time\n" + "".join(
    f"u{u},i{(u * 3 + k) % 9},{1_600_000_000 + k}\n" for u in range(12) for k in range(6)
)


@pytest.fixture
def shop(cli: Callable[..., Answer]) -> Answer:
    Path("clicks.csv").write_text(SHOP)
    return cli("prep", "shop", "--interactions", "clicks.csv", "--seed", 7)


def test_the_split_and_its_seed_are_said(cli: Callable[..., Answer], shop: Answer) -> None:
    assert shop.code == 0, shop.err
    assert "split: ratio, seed 7; it is random though times are given, --split temporal holds out" in shop.words
    again = cli("prep", "later", "--interactions", "clicks.csv", "--split", "temporal")
    assert "split: temporal, seed" in again.words
    assert "random" not in again.words


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (
            "ablate --dataset shop --runs 2",
            "The variants change parts that work on modalities, and data set 'shop' has none",
        ),
        (
            "compare vbpr mf --dataset shop",
            "Model 'vbpr' works on the items' content, and data set 'shop' has no modality",
        ),
        ("sparsity --models bm3 --dataset shop --metric recall@2", "Model 'bm3' works on the items' content"),
        ("train shop --model vbpr --jobs 2", "Model 'vbpr' works on the items' content"),
        ("train shop --variant w/o-GT", "Variant 'w/o-GT' changes a part of mmssl that works on modalities"),
    ],
)
def test_refused_before_training(cli: Callable[..., Answer], shop: Answer, command: str, sentence: str) -> None:
    answer = cli(*command.split(), "--ks", "2", "--select-on", "recall@2")
    assert (answer.code, answer.out) == (2, "")
    assert f"Error: {sentence}" in answer.err
    assert not Path("runs").exists() or not list(Path("runs").iterdir())
