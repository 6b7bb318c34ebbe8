"""docs/adding-a-dataset.md, followed to the letter in a copy of the program."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pipelines.prepared import read_prepared, verify_prepared
from tests.conftest import ROOT
from tests.helpers.followed_document import FollowedDocument
from tests.helpers.raw_cases import ITEMS, pairs, title, write_amazon, write_table

DOCUMENT = FollowedDocument("adding-a-dataset.md")


def _follow(section: str, folder: Path, program: Path = ROOT) -> None:
    """Write the table of a section as datasets.toml and run the section's commands."""
    (folder / "datasets.toml").write_text(DOCUMENT.block(section, "toml"), encoding="utf-8")
    DOCUMENT.run(section, folder, program)


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A copy of both packages with the document's file and line added."""
    return DOCUMENT.extend(tmp_path / "program", "pipelines/sources/__init__.py", "SOURCES = ")


def test_own_tables_by_name(tmp_path: Path) -> None:
    write_table(tmp_path)
    _follow("Your own tables", tmp_path)
    data = read_prepared(tmp_path / "data" / "my-shop")
    assert {name: one.present.sum() for name, one in data.features.items()} == {"textual": ITEMS, "visual": ITEMS - 2}
    assert data.settings["columns"]["user"] == "who" and data.settings["split"] == "temporal"


def test_another_category_of_a_known_source(tmp_path: Path) -> None:
    folder = tmp_path / "downloads" / "toys"
    for role, path in write_amazon(folder).items():
        [name] = re.findall(rf'files\.{role}\]\nname = "(.*)"', DOCUMENT.text)
        path.rename(folder / name)
    _follow("Files of a known source", tmp_path)
    data = read_prepared(tmp_path / "data" / "amazon-toys")
    assert data.features["visual"].values.shape == (ITEMS, 4096)
    assert len(data.interactions) == len(pairs())


def test_one_file_and_one_line_make_a_source(program: Path, tmp_path: Path) -> None:
    folder = tmp_path / "downloads" / "yelp"
    folder.mkdir(parents=True)
    reviews = [
        {"user_id": f"u{user}", "business_id": f"b{item}", "stars": 5 - n % 2, "date": f"2018-07-07 22:{n % 60:02}:11"}
        for n, (user, item) in enumerate(pairs())
    ]
    reviews += [{"user_id": "u0", "business_id": "b99", "stars": 1, "date": "2018-07-07 22:09:11"}]
    businesses = [{"business_id": f"b{n}", "name": title(n), "categories": "Food, Bars"} for n in range(1, ITEMS)]
    businesses += [{**businesses[0], "business_id": "b99"}, businesses[0]]
    for name, records in (("review", reviews), ("business", businesses)):
        lines = "".join(json.dumps(record) + "\n" for record in records)
        (folder / f"yelp_academic_dataset_{name}.json").write_text(lines, encoding="utf-8")
    _follow("The table", tmp_path, program)
    manifest = verify_prepared(tmp_path / "data" / "yelp")
    assert manifest.settings["source"] == "yelp" and len(manifest.sources) == 2
    reviewed, described = (
        manifest.settings["records"][f"yelp_academic_dataset_{name}.json"] for name in ("review", "business")
    )
    assert reviewed == {"read": len(reviews), "left_out": {"a rating below 4": 1}}
    assert described["left_out"] == {"an item without interactions that are kept, or one described before": 2}
    assert described["notes"] == [
        "yelp_academic_dataset_business.json: 1 item of the interactions has no record here (b0)"
    ]
    data = read_prepared(tmp_path / "data" / "yelp")
    assert len(data.interactions) == len(pairs()) and data.interactions["timestamp"].min() > 1_530_000_000
    texts = dict(zip(data.items["id"], data.items["text"], strict=True))
    assert texts["b3"] == f"{title(3)} Food, Bars"
    assert data.items["id"][data.items["text"].isna()].tolist() == ["b0"]
    assert data.features["textual"].present.sum() == ITEMS - 1
