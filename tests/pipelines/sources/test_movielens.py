"""The releases of MovieLens in the layouts of GroupLens, from its zips, from folders, and with a table beside them."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from pipelines.catalog import load_catalog
from pipelines.prepared import PreparedDataset, read_prepared
from pipelines.prepared.manifest import read_manifest
from tests.conftest import Answer
from tests.helpers.http_server import Page, WebServer, web_fixture  # noqa: F401
from tests.helpers.raw_cases import ITEMS, USERS, pairs

Cli = Callable[..., Answer]
GENRES = ("unknown", "Action", "Children's", "Film-Noir")


def title(film: int) -> str:
    return f"Misérables, Les: Part {film} (1995)"


def rating(film: int) -> int:
    """From 1 to 5; film 0 is liked by nobody."""
    return 1 + film % 5


def release(name: str) -> dict[str, bytes]:
    """File -> content of a small release; film 3 has no genres."""
    films, flags = range(ITEMS), lambda film: [int(film != 3 and film % len(GENRES) == n) for n in range(len(GENRES))]
    kinds = ["|".join(g for g, flag in zip(GENRES, flags(film), strict=True) if flag) for film in films]
    ratings = [(user, film, rating(film), 880_000_000 + n) for n, (user, film) in enumerate(pairs())]
    if name == "ml-100k":
        items = [f"{f}|{title(f)}|01-Jan-1995||http://x/|" + "|".join(map(str, flags(f))) for f in films]
        return {
            "u.data": "\n".join("\t".join(map(str, row)) for row in ratings).encode(),
            "u.item": "\n".join(items).encode("latin-1"),
            "u.genre": "".join(f"{genre}|{n}\n" for n, genre in enumerate(GENRES)).encode() + b"\n",
        }
    if name == "ml-1m":
        return {
            "ratings.dat": "\n".join("::".join(map(str, row)) for row in ratings).encode(),
            "movies.dat": "\n".join(f"{f}::{title(f)}::{kinds[f]}" for f in films).encode("latin-1"),
        }
    rows = [f'{f},"{title(f)}",{kinds[f] or "(no genres listed)"}\r\n' for f in films]
    return {
        "ratings.csv": b"userId,movieId,rating,timestamp\r\n"
        + "".join(f"{user},{film},{stars}.0,{time}\r\n" for user, film, stars, time in ratings).encode(),
        "movies.csv": b"movieId,title,genres\r\n" + "".join(rows).encode(),
    }


RELEASES = {"movielens-100k": "ml-100k", "movielens-1m": "ml-1m", "movielens-latest-small": "ml-latest-small"}


def zipped(name: str) -> bytes:
    """The zip of a release, in which all files are in one folder."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for file, content in release(name).items():
            archive.writestr(f"{name}/{file}", content)
    return packed.getvalue()


def unpack(name: str, folder: Path, **changed: bytes) -> Path:
    folder.mkdir()
    for file, content in (release(name) | {key.replace("_", "."): value for key, value in changed.items()}).items():
        (folder / file).write_bytes(content)
    return folder


def content(dataset: PreparedDataset) -> tuple[list[str], list[str], int]:
    return dataset.items["title"].tolist(), dataset.items["text"].tolist(), len(dataset.interactions)


@pytest.mark.parametrize(("dataset", "name"), RELEASES.items())
def test_downloaded_or_at_hand(cli: Cli, web: WebServer, tmp_path: Path, dataset: str, name: str) -> None:
    """Download the zip, then read the same from the zip and from its folder at hand."""
    address = web.put(f"/{name}.zip", Page(zipped(name)))
    entry = "title='X'\nsource='movielens'\nk-core=2\nfeatures={textual={input='text',encoder='tfidf'}}\n"
    Path("datasets.toml").write_text(
        f"[datasets.{dataset}]\n{entry}[datasets.{dataset}.files.archive]\nname='{name}.zip'\nkind='zip'\n"
        f"urls=['{address}']\n"
    )
    answer = cli("prep", dataset)
    assert answer.code == 0, answer.words
    made = read_prepared(tmp_path / "data" / dataset)
    titles, texts, count = content(made)
    assert count == len(set(pairs())) and len(made.users) == USERS
    kinds = ["" if film == "3" else f" {GENRES[int(film) % len(GENRES)]}" for film in made.items["id"]]
    assert titles == [title(int(film)) for film in made.items["id"]]
    assert texts == [f"{name}{kind}" for name, kind in zip(titles, kinds, strict=True)]
    assert made.interactions["timestamp"].min() == 880_000_000
    assert set(read_manifest(tmp_path / "data" / dataset).sources) == set(release(name))
    folder = unpack(name, tmp_path / "folder")
    for place in (tmp_path / "data" / "raw" / dataset / f"{name}.zip", folder):
        assert cli("prep", dataset, "--raw", place, "--offline", "--data-dir", f"d-{place.name}").code == 0
        assert content(read_prepared(tmp_path / f"d-{place.name}" / dataset)) == (titles, texts, count)
    assert len(web.paths()) == 1
    assert "unchanged" in cli("prep", dataset, "--raw", folder).out


def test_only_high_ratings(cli: Cli, tmp_path: Path) -> None:
    folder = unpack("ml-1m", tmp_path / "ml")
    common = ("prep", "movielens-1m", "--raw", folder, "--modalities", "none", "--k-core", 1)
    answer = cli(*common, "--min-rating", 4)
    assert answer.code == 0, answer.words
    made = read_prepared(tmp_path / "data" / "movielens-1m")
    liked = {(str(user), str(film)) for user, film in pairs() if rating(film) >= 4}
    users, items = made.users["id"], made.items["id"]
    assert set(zip(users[made.interactions["user"]], items[made.interactions["item"]], strict=True)) == liked
    assert f"{len(pairs()) - len(liked)} interactions with a rating below 4 left out" in answer.err
    assert "unchanged" in cli(*common, "--min-rating", 4).out
    assert "movielens-1m: prepared" in cli(*common).out
    assert "holds no ratings that count" in cli(*common, "--min-rating", 6).words


def test_plots_and_posters_beside_it(cli: Cli, tmp_path: Path) -> None:
    folder = unpack("ml-100k", tmp_path / "ml")
    (tmp_path / "posters").mkdir()
    for film in range(ITEMS):
        Image.new("RGB", (20, 30), (film * 9, 50, 90)).save(tmp_path / "posters" / f"{film}.jpg")
    rows = [f'{film},"A plot, the {film}th.",{film}.jpg' for film in range(ITEMS)]
    (tmp_path / "films.csv").write_text("id,plot,poster\n" + "\n".join(rows) + "\n")
    common = ["prep", "movielens-100k", "--raw", folder, "--k-core", 2]
    encoders = ["--text-encoder", "tfidf", "--image-encoder", "pixels"]
    columns = ["--items", "films.csv", "--text", "plot", "--image-column", "poster", "--images", "posters"]
    answer = cli(*common, *encoders, *columns)
    assert answer.code == 0, answer.words
    made = read_prepared(tmp_path / "data" / "movielens-100k")
    assert set(made.features) == {"textual", "visual"} and made.features["visual"].present.all()
    texts = dict(zip(made.items["id"], made.items["text"], strict=True))
    assert texts["5"] == f"{title(5)} Action A plot, the 5th."
    told = "films.csv: the ids of the items are in its column id"
    assert made.settings["records"]["films.csv"] == {"read": ITEMS, "notes": [told]}
    (tmp_path / "films.csv").write_text("id,plot,poster\n" + "\n".join(rows[1:]) + "\n")
    assert "films.csv: 1 item of the interactions has no record here (0)" in cli(*common, *encoders, *columns).err
    assert cli(*common, *encoders, "--images", "posters").code == 0  # named by the id
    assert read_prepared(tmp_path / "data" / "movielens-100k").features["visual"].present.all()
    assert "--items FILE" in cli(*common, "--text", "plot").words
    assert "Name the columns of --items" in cli(*common, "--items", "films.csv").words
    assert "--rating-column is not applicable" in cli(*common, "--rating-column", "r").words


def test_vectors_by_another_column_of_ids(cli: Cli, tmp_path: Path) -> None:
    folder = unpack("ml-100k", tmp_path / "ml")
    rows = [f"{film},{ITEMS - 1 - film},{film + 1}" for film in range(ITEMS)]
    (tmp_path / "v.csv").write_text("\n".join(["a,b,x", *rows]) + "\n")
    common = ("prep", "movielens-100k", "--raw", folder, "--text-encoder", "tfidf", "--features", "visual=v.csv:x")
    for column in ("a", "b"):
        assert cli(*common, "--item-column", column).code == 0
        made = read_prepared(tmp_path / "data" / "movielens-100k")
        films = [int(film) for film in made.items["id"]]
        expected = [film + 1 if column == "a" else ITEMS - film for film in films]
        assert made.features["visual"].values[:, 0].tolist() == expected
        assert "unchanged" in cli(*common, "--item-column", column).out


@pytest.mark.parametrize(
    ("name", "changed", "sentence"),
    [
        ("ml-100k", {"u_genre": b"Action\n"}, "Line 1 of .*u.genre is 'Action'; expected a genre and its number"),
        ("ml-100k", {"u_genre": b"Action|7\n"}, "does not number the genres"),
        ("ml-100k", {"u_item": b"1|Toy Story|||\n" * 9}, "lines of .*u.item are malformed .line 1: 5 cells, not five"),
        ("ml-100k", {"u_data": b"1\t2\t3\n" * 9}, "lines of .*u.data are malformed .line 1: 3 cells, not 4"),
        ("ml-1m", {"movies_dat": b"99::Toy Story::Comedy\n"}, "movies.dat describes none of the 14 films"),
        ("ml-1m", {"ratings_dat": b"1::2::nan::5\n" * 9}, "its rating or time"),
        ("ml-1m", {"ratings_dat": b""}, "ratings.dat holds no ratings"),
        (
            "ml-latest-small",
            {"ratings_csv": b"user,item\n1,2\n"},
            "begins with 'user,item'; expected the header",
        ),
    ],
)
def test_wrong_files(cli: Cli, tmp_path: Path, name: str, changed: dict[str, bytes], sentence: str) -> None:
    folder = unpack(name, tmp_path / "ml", **changed)
    answer = cli("prep", "movielens-1m", "--raw", folder, "--modalities", "textual", "--text-encoder", "tfidf")
    assert answer.code == 1 and re.search(sentence, answer.words), answer.words


def test_missing_files(cli: Cli, tmp_path: Path) -> None:
    (unpack("ml-100k", tmp_path / "ml") / "u.genre").unlink()
    raw = ("prep", "movielens-100k", "--modalities", "none", "--offline", "--raw")
    assert "has u.data, but no u.genre; unpack the whole zip" in cli(*raw, tmp_path / "ml").words
    assert "Download ml-100k.zip from https://files.grouplens.org" in cli(*raw, tmp_path / "none").words
    with zipfile.ZipFile("other.zip", "w") as archive:
        archive.writestr("a/readme.txt", "x")
    assert "holds no files of MovieLens; expected u.data and u.item and u.genre, or" in cli(*raw, "other.zip").words


def test_what_never_changes_is_pinned() -> None:
    files = {name: load_catalog().entries[name].files["archive"] for name in RELEASES}
    assert {name for name, file in files.items() if file.sha256 and file.bytes} == {"movielens-100k", "movielens-1m"}


def test_a_header_is_no_line_that_is_read(cli: Cli, tmp_path: Path) -> None:
    folder = unpack("ml-latest-small", tmp_path / "ml")
    for name in ("ratings.csv", "movies.csv"):
        (folder / name).write_bytes((folder / name).read_bytes().rstrip() + b"\n\n")
    answer = cli("prep", "movielens-latest-small", "--raw", folder, "--k-core", 1, "--text-encoder", "tfidf")
    assert answer.code == 0, answer.words
    records = read_prepared(tmp_path / "data" / "movielens-latest-small").settings["records"]
    for name in ("ratings.csv", "movies.csv"):
        assert records[name]["read"] == len((folder / name).read_bytes().splitlines()) - 1
        assert records[name]["left_out"]["empty lines"] == 1
