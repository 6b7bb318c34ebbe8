"""`mmssl prep`, through the real entry point."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines import prepare as pipeline
from pipelines.io.files import sha256_of
from pipelines.prepared import read_prepared, verify_prepared
from pipelines.sources import demo
from tests.conftest import ROOT
from tests.helpers.encoder_cases import photo

REAL = ROOT.parent / "shared" / "data"
Cli = Callable[..., Any]


@pytest.fixture
def small_shop(monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo with fewer users and items, for speed."""
    generate = demo.generate_shop
    monkeypatch.setattr(demo, "generate_shop", lambda seed: generate(seed, num_users=40, num_items=60))


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "raw"
    folder.mkdir()
    (folder / "train.json").write_text('{"0": [0], "1": [1], "2": [2], "3": []}')
    (folder / "val.json").write_text('{"0": [1], "1": [], "2": [], "3": []}')
    (folder / "test.json").write_text('{"0": [], "1": [0], "2": [], "3": [2]}')
    np.save(folder / "image_feat.npy", np.ones((3, 4), dtype=np.float16))
    return folder


def tree(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): sha256_of(path) for path in folder.rglob("*") if path.is_file()}


def test_the_demo_is_prepared_whole(cli: Cli, tmp_path: Path) -> None:
    answer = cli("prep")
    assert answer.code == 0, answer.words
    assert "data/demo: prepared" in answer.out
    assert "600 users, 400 items" in answer.err
    manifest = verify_prepared(tmp_path / "data" / "demo")
    assert list(manifest.modalities) == ["visual", "textual"]
    assert manifest.settings == {"source": "demo", "seed": 0, "generator": demo.GENERATOR_VERSION}
    data = read_prepared(tmp_path / "data" / "demo")
    assert data.features["visual"].present.all()
    assert data.features["textual"].present.all()
    assert (tmp_path / "data" / "demo" / data.items["image"].iloc[7]).is_file()


def test_preparing_again_is_byte_for_byte_the_same(cli: Cli, tmp_path: Path, small_shop: None) -> None:
    for folder in ("a", "b"):
        assert cli("prep", "demo", "--data-dir", folder).code == 0
    assert tree(tmp_path / "a") == tree(tmp_path / "b")
    before = tree(tmp_path / "a")
    assert "unchanged" in cli("prep", "demo", "--data-dir", "a").out
    assert "demo: prepared" in cli("prep", "demo", "--data-dir", "a", "--force").out
    assert tree(tmp_path / "a") == before


def test_another_seed_makes_another_shop(cli: Cli, tmp_path: Path, small_shop: None) -> None:
    cli("prep", "demo")
    before = tree(tmp_path / "data" / "demo")
    assert "prepared" in cli("prep", "demo", "--seed", 1).out
    assert tree(tmp_path / "data" / "demo") != before


def test_what_is_unchanged_is_not_made_again(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, small_shop: None, raw: Path
) -> None:
    arguments = ("prep", "own", "--from", raw, "--cold-users", "keep")
    cli("prep", "demo")
    cli(*arguments)
    monkeypatch.setattr("pipelines.prepared.write.write_prepared", lambda *_, **__: pytest.fail("it was written again"))
    assert "unchanged" in cli("prep", "demo").out
    assert "unchanged" in cli(*arguments).out


def test_changed_sources_or_settings_are_prepared_again(cli: Cli, tmp_path: Path, raw: Path) -> None:
    assert cli("prep", "own", "--from", raw, "--cold-users", "keep").code == 0
    np.save(raw / "image_feat.npy", np.zeros((3, 4), dtype=np.float16))
    assert "own: prepared" in cli("prep", "own", "--from", raw, "--cold-users", "keep").out
    assert not read_prepared(tmp_path / "data" / "own").features["visual"].present.any()
    assert "own: prepared" in cli("prep", "own", "--from", raw, "--cold-users", "drop").out
    assert read_prepared(tmp_path / "data" / "own").pairs("test").tolist() == [[1, 0]]


def test_another_version_of_the_program_prepares_again(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, small_shop: None
) -> None:
    cli("prep", "demo")
    monkeypatch.setattr(pipeline, "created_by", lambda: "mmssl 99")
    assert "demo: prepared" in cli("prep", "demo").out


def test_a_damaged_folder_is_mended(cli: Cli, tmp_path: Path, small_shop: None) -> None:
    cli("prep", "demo")
    (tmp_path / "data" / "demo" / "users.parquet").write_bytes(b"")
    assert cli("prep", "demo", "--check").code == 1
    answer = cli("prep", "demo")
    assert "users.parquet is not the file that was prepared" in answer.words
    assert "demo: prepared" in answer.out
    assert cli("prep", "demo", "--check").code == 0


def test_check_reads_every_file(cli: Cli, tmp_path: Path, small_shop: None) -> None:
    cli("prep", "demo")
    answer = cli("prep", "demo", "--check")
    assert answer.code == 0
    assert "65 files verified; 40 users, 60 items" in answer.out
    (tmp_path / "data" / "demo" / "images" / "0003.png").unlink()
    answer = cli("prep", "demo", "--check")
    assert answer.code == 1
    assert "images/0003.png is missing" in answer.words


def test_users_without_training_are_refused_kept_or_dropped(cli: Cli, tmp_path: Path, raw: Path) -> None:
    answer = cli("prep", "own", "--from", raw)
    assert answer.code == 1
    assert "1 user has validation or test interactions but none in training" in answer.words
    assert "--cold-users keep" in answer.words
    assert not (tmp_path / "data").exists()
    answer = cli("prep", "own", "--from", raw, "--cold-users", "keep")
    assert answer.code == 0
    assert "Users without a training interaction are kept: 1 in test" in answer.words
    sources = read_prepared(tmp_path / "data" / "own").sources
    assert sources == {path.name: sha256_of(path) for path in raw.iterdir()}
    assert cli("prep", "own", "--check").code == 0


def test_the_catalog_says_what_to_do_with_such_users_in_tiktok(cli: Cli, tmp_path: Path, raw: Path) -> None:
    assert cli("prep", "tiktok", "--from", raw).code == 0
    assert read_prepared(tmp_path / "data" / "tiktok").settings["cold_users"] == "keep"
    assert cli("prep", "amazon-baby", "--from", raw).code == 1


def test_quiet_says_only_the_result(cli: Cli, small_shop: None) -> None:
    answer = cli("prep", "demo", "-q")
    assert answer.err == ""
    assert answer.out == "data/demo: prepared\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["tiktik"], "There is no data set 'tiktik': did you mean tiktok?"),
        (["tiktok"], "tiktok is prepared from files"),
        (["mine", "--items", "items.csv"], "--items needs --interactions FILE, the table of your interactions"),
        (["mine", "--user-column", "who"], "--user-column needs --interactions FILE, the table of your interactions"),
        (["demo", "--from", "raw"], "--from is not applicable: demo is generated"),
        (["demo", "--cold-users", "keep"], "--cold-users is not applicable: demo is generated"),
        (["demo", "--cold-users", "kep"], "--cold-users 'kep' is unknown: did you mean keep?"),
        (["own", "--from", "raw", "--seed", "3"], "--seed is not applicable: nothing is drawn"),
        (["../own", "--from", "raw"], "'../own' cannot name a data set"),
        (["raw", "--from", "raw"], "'raw' cannot name a data set: data/raw is the folder of raw files"),
        (["demo", "--check", "--force"], "--check only verifies"),
        (["demo", "--seed", "-1"], "--seed"),
    ],
)
def test_a_wrong_command_line_ends_with_2(
    cli: Cli, tmp_path: Path, raw: Path, arguments: list[str], sentence: str
) -> None:
    answer = cli("prep", *arguments)
    assert answer.code == 2
    assert sentence in answer.words
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["own", "--from", "nowhere"], "There is no folder nowhere"),
        (
            ["own", "--from", "."],
            "is of no known layout. It has data, raw. Expected train.json",
        ),
        (["demo", "--check"], "There is no prepared data set at data/demo"),
        (["own", "--from", "raw", "--cold-users", "keep", "--data-dir", "raw/train.json"], "raw/train.json"),
    ],
)
def test_wrong_files_end_with_1(cli: Cli, tmp_path: Path, raw: Path, arguments: list[str], sentence: str) -> None:
    before = tree(tmp_path)
    answer = cli("prep", *arguments)
    assert answer.code == 1
    assert sentence in answer.words
    assert "bug" not in answer.words
    assert tree(tmp_path) == before


def test_a_full_disk_leaves_the_old_data_set(
    cli: Cli, tmp_path: Path, small_shop: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli("prep", "demo")
    before = tree(tmp_path / "data" / "demo")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pipelines.prepared.write.write_features", full)
    answer = cli("prep", "demo", "--force")
    assert answer.code == 1
    assert "Cannot write data/demo: the disk is full" in answer.words
    assert tree(tmp_path / "data" / "demo") == before


def test_an_own_catalog_adds_data_sets(cli: Cli, tmp_path: Path, raw: Path) -> None:
    (tmp_path / "datasets.toml").write_text(
        '[datasets.own]\ntitle = "Mine"\nsource = "published"\ncold-users = "drop"\n'
        'modalities = { "image_feat.npy" = "poster" }\n'
    )
    assert cli("prep", "own", "--from", raw).code == 0
    data = read_prepared(tmp_path / "data" / "own")
    assert list(data.features) == ["poster"]
    assert data.settings["cold_users"] == "drop"


@pytest.mark.parametrize("name", ["tiktok", "amazon-baby"])
def test_the_real_data_are_prepared_and_verified(cli: Cli, name: str) -> None:
    if not (REAL / name / "train.json").is_file():
        pytest.skip(f"the real data set {name} is not at ../shared/data/{name}")
    assert cli("prep", name, "--from", REAL / name).code == 0
    assert cli("prep", name, "--check").code == 0


def test_preparation_needs_no_torch() -> None:
    """Nor scikit-learn, before a text is encoded."""
    code = (
        "import json, sys, pipelines.prepare, mmssl_cli.commands.prep, mmssl_cli.commands.datasets\n"
        "print(json.dumps([name for name in ('torch', 'sklearn', 'scipy', 'httpx2') if name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert json.loads(done.stdout) == []


@pytest.fixture
def shop(tmp_path: Path) -> tuple[str, ...]:
    """Own tables with texts and pictures; returns the command that prepares them."""
    tables = tmp_path / "tables"
    (tables / "photos").mkdir(parents=True)
    rows = [f"{user},i{item}" for user in range(6) for item in range(5)]
    (tables / "clicks.csv").write_text("\n".join(["user,item", *rows]))
    (tables / "items.csv").write_text("\n".join(["item,title", *(f"i{item},red lamp {item}" for item in range(5))]))
    for item in range(4):
        photo(item).save(tables / "photos" / f"i{item}.png")
    given = ("--interactions", "tables/clicks.csv", "--items", "tables/items.csv", "--images", "tables/photos")
    return ("prep", "shop", *given, "--text", "title", "--text-encoder", "tfidf", "--image-encoder", "pixels")


def test_an_encoder_without_anything_to_encode(cli: Cli, shop: tuple[str, ...]) -> None:
    """A misspelt column is said first: it may be the reason."""
    bare = [*shop[:6], "--text-encoder", "tfidf", "--image-encoder", "pixels"]
    for flags, sentence in (
        (
            ("--text", "titel"),
            "no column 'titel', only item, title: did you mean title or item? Name the column with --",
        ),
        (
            ("--text", "title"),
            "--image-encoder has nothing to encode: name the images of the items with --images DIR or --image-column",
        ),
        (("--images", "tables/photos"), "--text-encoder has nothing to encode: name the texts of the items with --t"),
        (
            ("--text", "title", "--images", "tables/photos", "--modalities", "textual"),
            "--image-encoder has nothing to encode: --modalities leaves out visual.",
        ),
    ):
        answer = cli(*bare, *flags)
        assert answer.code and sentence in answer.words


def test_a_repeat_with_nothing_to_do_reads_manifests_alone(cli: Cli, tmp_path: Path, shop: tuple[str, ...]) -> None:
    assert cli(*shop).code == 0
    code = (
        "import json, sys\nfrom mmssl_cli.app import main\nsys.argv[0] = 'mmssl'\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "print(json.dumps([name for name in ('numpy', 'pandas', 'pyarrow', 'ftfy', 'torch') if name in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *shop],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert "unchanged, nothing to do" in done.stdout
    assert json.loads(done.stdout.splitlines()[-1]) == []


@pytest.mark.parametrize("change", ["content", "new picture", "lost picture", "library", "data set"])
def test_a_change_is_met_by_a_repeat(
    cli: Cli, tmp_path: Path, shop: tuple[str, ...], change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli(*shop).code == 0
    assert "unchanged" in cli(*shop).out
    tables = tmp_path / "tables"
    if change == "content":  # of the same size
        (tables / "items.csv").write_text((tables / "items.csv").read_text().replace("red", "tan"))
    elif change == "new picture":
        photo(9).save(tables / "photos" / "i4.png")
    elif change == "lost picture":
        (tables / "photos" / "i0.png").unlink()
    elif change == "data set":
        (tmp_path / "data" / "shop" / "users.parquet").unlink()
    else:
        monkeypatch.setattr("pipelines.prepare.created_by", lambda: "mmssl 99")
    assert "shop: prepared" in cli(*shop).out
    assert "unchanged" in cli(*shop).out
