"""Releases of MicroLens: folders and zips of pairs, titles and covers, recognised by `--from`."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from pipelines.prepared import PreparedDataset, read_prepared
from pipelines.prepared.manifest import read_manifest
from tests.conftest import Answer
from tests.helpers.raw_cases import ITEMS, USERS, pairs, title

Cli = Callable[..., Answer]
ENCODERS = ("--text-encoder", "tfidf", "--image-encoder", "pixels", "--k-core", 2)


def history(user: int) -> list[int]:
    return list(dict.fromkeys(item for other, item in pairs() if other == user))


def write_pairs(folder: Path, suffix: str) -> None:
    folder.mkdir(exist_ok=True)
    if suffix == "csv":
        rows = [f"{u},{i},{1_583_000_000_123 + n}" for n, (u, i) in enumerate(pairs())]
        text = "user,item,timestamp\n" + "\n".join(rows) + "\n"
    else:
        text = "".join(f"{u}\t{' '.join(map(str, history(u)))}\n" for u in range(USERS))
    (folder / f"MicroLens-50k_pairs.{suffix}").write_text(text)


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A whole release, but for the cover of item 3; a title has commas, quotes and two lines."""
    folder = tmp_path / "MicroLens-50k-Dataset"
    write_pairs(folder, "csv")
    titles = [f"{item},{title(item)}" for item in range(1, ITEMS)]
    (folder / "MicroLens-50k_titles.csv").write_text('item,title\n0,"Ten ""tips"", \nno tricks"\n' + "\n".join(titles))
    covers = folder / "MicroLens-50k_covers"
    covers.mkdir()
    for item in set(range(ITEMS)) - {3}:
        Image.new("RGB", (20, 30), (item * 9, 50, 90)).save(covers / f"{item}.jpg")
    return folder


def titles_of(dataset: PreparedDataset) -> dict[str, str]:
    return dict(zip(dataset.items["id"], dataset.items["title"], strict=True))


def test_a_release_is_recognised(cli: Cli, tmp_path: Path, release: Path) -> None:
    answer = cli("prep", "videos", "--from", release, *ENCODERS)
    assert answer.code == 0, answer.words
    made = read_prepared(tmp_path / "data" / "videos")
    assert len(made.users) == USERS and len(made.interactions) == len(pairs())
    assert made.interactions["timestamp"].min() == 1_583_000_000_123
    assert titles_of(made) == {"0": 'Ten "tips", no tricks'} | {str(item): title(item) for item in range(1, ITEMS)}
    assert made.features["textual"].present.all()
    assert made.items["id"][~made.features["visual"].present].tolist() == ["3"]
    assert set(read_manifest(tmp_path / "data" / "videos").sources) == {
        "MicroLens-50k_pairs.csv",
        "MicroLens-50k_titles.csv",
    }
    assert "unchanged" in cli("prep", "videos", "--from", release, *ENCODERS).out
    (release / "MicroLens-50k_covers" / "0.jpg").unlink()
    assert "videos: prepared" in cli("prep", "videos", "--from", release, *ENCODERS).out
    assert "--cold-users is not applicable" in cli("prep", "videos", "--from", release, "--cold-users", "keep").words


def test_a_zip_of_it(cli: Cli, tmp_path: Path, release: Path) -> None:
    with zipfile.ZipFile(tmp_path / "release.zip", "w") as archive:
        for path in sorted(release.rglob("*.*")):
            archive.write(path, path.relative_to(tmp_path))
    for place in (release, tmp_path / "release.zip"):
        assert cli("prep", "videos", "--from", place, *ENCODERS, "--data-dir", f"d-{place.stem}").code == 0
    digests = [read_manifest(folder / "videos").digest for folder in tmp_path.glob("d-*")]
    assert len(digests) == 2 and digests[0] == digests[1]


def test_the_order_alone(cli: Cli, tmp_path: Path) -> None:
    """Read the file of histories: the last item of each is tested on."""
    write_pairs(tmp_path / "ml", "tsv")
    common = ("prep", "videos", "--from", tmp_path / "ml", "--k-core", 2)
    answer = cli(*common, "--split", "leave-one-out")
    assert answer.code == 0, answer.words
    made = read_prepared(tmp_path / "data" / "videos")
    assert not made.features
    tested = made.interactions[made.interactions["split"] == "test"]
    users, items = made.users["id"], made.items["id"]
    last = {users[u]: items[i] for u, i in zip(tested["user"], tested["item"], strict=True)}
    assert last == {str(user): str(history(user)[-1]) for user in range(USERS)}
    assert "has no times, which --split global-time needs" in cli(*common, "--split", "global-time").words


def test_empty_lines_of_histories_do_not_matter(cli: Cli, tmp_path: Path) -> None:
    write_pairs(tmp_path / "ml", "tsv")
    with (tmp_path / "ml" / "MicroLens-50k_pairs.tsv").open("a") as file:
        file.write("\n\n")
    assert cli("prep", "videos", "--from", "ml", "--k-core", 2, "--split", "leave-one-out").code == 0


def test_titles_without_a_header_or_quotes(cli: Cli, tmp_path: Path) -> None:
    write_pairs(tmp_path / "ml", "csv")
    lines = "".join(f"{item},{title(item)}, again\n" for item in range(ITEMS))
    (tmp_path / "ml" / "MicroLens-100k_title_en.csv").write_text(lines)
    assert cli("prep", "videos", "--from", "ml", "--k-core", 2, "--text-encoder", "tfidf").code == 0
    assert titles_of(read_prepared(tmp_path / "data" / "videos")) == {
        str(i): f"{title(i)}, again" for i in range(ITEMS)
    }


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("pairs.csv", b"user,video\n1,2\n", "has no column 'item'"),
        ("pairs.tsv", b"1 2 3\n", "there is no tab after the user"),
        ("pairs.tsv", b"1\t\n", "holds no interactions; expected a user, a tab"),
        ("titles.csv", b"item,title\n99,Other\n", "has no title of any of the 14 items"),
        ("titles.csv", b"1,\xff\n2,\xff\n", "lines of .*titles.csv are malformed"),
    ],
)
def test_wrong_files(cli: Cli, tmp_path: Path, name: str, content: bytes, sentence: str) -> None:
    write_pairs(tmp_path / "ml", "csv")
    if name == "pairs.tsv":
        (tmp_path / "ml" / "MicroLens-50k_pairs.csv").unlink()
    (tmp_path / "ml" / f"MicroLens-50k_{name}").write_bytes(content)
    encoder = ("--text-encoder", "tfidf") if name == "titles.csv" else ()
    answer = cli("prep", "videos", "--from", "ml", "--k-core", 2, *encoder)
    assert answer.code == 1 and "Traceback" not in answer.err
    assert re.search(sentence, answer.words), answer.words
