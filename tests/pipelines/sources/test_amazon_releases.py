"""Categories of the Amazon releases by name: their entries, and their files downloaded from a server."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.catalog import load_catalog, resolve_dataset
from pipelines.errors import UsageError
from pipelines.prepared import read_prepared
from pipelines.sources import amazon_releases
from pipelines.sources.amazon_releases import CATEGORIES, data_set_name, entry_by_name, entry_of, known_names
from tests.conftest import Answer
from tests.helpers.http_server import Page, WebServer, web_fixture  # noqa: F401
from tests.helpers.raw_cases import ITEMS, asin, pairs, title

Cli = Callable[..., Answer]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_every_category_has_a_name_of_its_own() -> None:
    names = known_names()
    assert len(set(names)) == len(names) == 24 + 29 + 34
    for name in names:
        entry = entry_by_name(name)
        assert entry is not None and {"reviews", "metadata"} <= entry.files.keys()
        assert resolve_dataset(name) == name
    assert not set(names) & load_catalog().entries.keys()
    assert entry_by_name("amazon-2014-all-beauty") is None


@pytest.mark.parametrize(("known", "name"), [("amazon-baby", "Baby"), ("amazon-sports", "sports and outdoors")])
def test_the_addresses_are_those_of_the_catalog(known: str, name: str) -> None:
    shipped, made = load_catalog().entries[known], entry_of("2014", name)
    for role, file in shipped.files.items():
        same = (made.files[role].name, made.files[role].kind, made.files[role].urls[0])
        assert same == (file.name, file.kind, file.urls[0])
    assert made.features == shipped.features


def test_only_some_categories_of_2023_have_5_cores() -> None:
    assert "/5core/" in entry_of("2023", "Video_Games").files["reviews"].urls[0]
    assert entry_of("2023", "Appliances").files["reviews"].name == "Appliances.jsonl.gz"
    assert set(CATEGORIES["2023"]) > amazon_releases._WITHOUT_5_CORE


def test_wrong_names() -> None:
    with pytest.raises(UsageError, match=r"data of 2014 have no category 'toy games': did you mean Toys_and_Games"):
        entry_of("2014", "toy games")
    with pytest.raises(UsageError, match="give --release 2014, 2018 or 2023, and --category NAME"):
        data_set_name("2014", None)
    with pytest.raises(UsageError, match=r"'amazon-2018-boks': did you mean amazon-2018-books"):
        resolve_dataset("amazon-2018-boks")


def files(release: str) -> dict[str, bytes]:
    """Path -> content of a category of a release; every third rating is low."""
    ratings = [(f"A{u}", asin(i), 5.0 if n % 3 else 2.0, 1_500_000_000 + n) for n, (u, i) in enumerate(pairs())]
    details = {"2018": "category", "2023": "features"}[release]
    key = "parent_asin" if release == "2023" else "asin"
    items = "\n".join(json.dumps({key: asin(i), "title": title(i), details: ["Gear"]}) for i in range(ITEMS))
    if release == "2023":
        rows = "\n".join(",".join(map(str, row)) for row in ratings)
        reviews = {"/benchmark/5core/rating_only/Video_Games.csv.gz": f"user_id,parent_asin,rating,timestamp\n{rows}\n"}
        return {path: text.encode() for path, text in reviews.items()} | {
            "/raw/meta_categories/meta_Video_Games.jsonl.gz": items.encode()
        }
    keys = ("reviewerID", "asin", "overall", "unixReviewTime")
    return {
        "/categoryFilesSmall/Video_Games_5.json.gz": "\n".join(
            json.dumps(dict(zip(keys, row, strict=True))) for row in ratings
        ).encode(),
        "/metaFiles2/meta_Video_Games.json.gz": items.encode(),
    }


@pytest.mark.parametrize("release", ["2018", "2023"])
def test_a_category_is_downloaded(
    cli: Cli, web: WebServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, release: str
) -> None:
    monkeypatch.setitem(amazon_releases.MIRRORS, release, (web.url(""),))
    for path, content in files(release).items():
        web.put(path, Page(gzip.compress(content, mtime=0)))
    common = ("--modalities", "textual", "--text-encoder", "tfidf", "--k-core", 1)
    category = ("--release", release, "--category", "video games")
    answer = cli("prep", "amazon", *category, "--min-rating", 4, *common)
    assert answer.code == 0, answer.words
    name = f"amazon-{release}-video-games"
    made = read_prepared(tmp_path / "data" / name)
    assert len(made.interactions) == len(pairs()) * 2 // 3
    assert sorted(made.items["text"]) == sorted(f"{title(i)} Gear" for i in range(ITEMS))
    for given in ((), ("amazon",), (name,)):
        assert "unchanged" in cli("prep", *given, *category, "--min-rating", 4, *common).out
    assert f"{name}: prepared" in cli("prep", name, *common).out
    assert len(read_prepared(tmp_path / "data" / name).interactions) == len(pairs())
    assert len(web.paths()) == 2
    assert "games: prepared" in cli("prep", "games", *category, *common).out
    assert cli("prep", "games", "--check").code == 0


def test_what_does_not_go_together(cli: Cli, tmp_path: Path) -> None:
    books = ("--release", "2018", "--category", "Books")
    assert "give --release 2014, 2018 or 2023, and --category NAME" in cli("prep", "amazon").words
    assert "--release '2019' is unknown" in cli("prep", "amazon", "--release", "2019").words
    assert "demo is another data set than this category" in cli("prep", "demo", *books).words
    assert "--release is not applicable" in cli("prep", "own", *books, "--interactions", "x.csv").words
    assert "leave out everything but NAME" in cli("prep", "amazon", *books, "--check").words
    assert cli("train", "--dataset", "amazon-2018-books").code == 1
    assert not (tmp_path / "data").exists()
