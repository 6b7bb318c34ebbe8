"""A mistake is answered by a sentence that names the flag, and the nearest valid value first."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Answer


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("train demo --device gpu", "--device cannot be 'gpu': did you mean cuda or cpu?"),
        ("train demo --layers two", "--layers cannot be 'two': expected a whole number."),
        ("train demo --lr 0", "--lr cannot be '0': expected a number above 0."),
        ("train demo --modalities image", "Data set 'demo' has no modality 'image' for --modalities: choose from"),
        ("prep --interactions shop.csv", "The data set needs a name: mmssl prep NAME --interactions shop.csv"),
        ("prep --from folder", "The data set needs a name: mmssl prep NAME --from folder"),
        (
            "prep shop --interactions shop.csv --time-column title",
            "Check the file, name another column with --time-column (none reads no times), or raise --max-malformed.",
        ),
        (
            "prep shop --interactions shop.csv --items shop.csv --text title --text-encoder tf-idf",
            "--text-encoder cannot be 'tf-idf': did you mean tfidf? It also takes the folder of a model, or a name",
        ),
        (
            "prep shop --interactions shop.csv --items shop.csv --image-column title --image-encoder pixel",
            "--image-encoder cannot be 'pixel': did you mean pixels? It takes published, pixels, a classifier",
        ),
    ],
)
def test_the_sentence_names_the_flag(cli: Callable[..., Answer], command: str, sentence: str) -> None:
    lines = [f"u{user},i{item},a lamp\n" for user in range(6) for item in range(6)]
    Path("shop.csv").write_text("user,item,title\n" + "".join(lines))
    answer = cli(*command.split())
    assert answer.code in (1, 2)
    assert answer.out == ""
    assert sentence in " ".join(answer.err.split())


def test_a_missing_name_is_the_default_and_said(cli: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch) -> None:
    Path("shop.csv").write_text("user,item\n" + "".join(f"u{u},i{i}\n" for u in range(6) for i in range(6)))
    monkeypatch.setenv("MMSSL_DATASET", "shop")
    assert cli("prep", "shop", "--interactions", "shop.csv").code == 0
    answer = cli("export", "--format", "recbole")
    assert (answer.code, answer.err) == (0, "")
    assert "files of shop written" in answer.out
