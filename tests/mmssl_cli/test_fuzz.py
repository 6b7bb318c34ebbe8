"""Files of all formats, mutated from a seed, through the command line: a result, or one sentence and an exit code.

``FUZZ_MUTATIONS=100000 pytest tests/mmssl_cli/test_fuzz.py`` looks longer.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import traceback
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipelines.io.files import sha256_of
from pipelines.prepared import Features, PreparedDataset, write_prepared
from tests.conftest import Answer
from tests.helpers.written_runs import write_run

Cli = Callable[..., Answer]
MUTATIONS = int(os.environ.get("FUZZ_MUTATIONS", "240"))
TOKENS = (
    *(b"\0", b"\x1b[2J", b"\n", b'"', b",", b"1e999", b"-1", b"NaN", b"9" * 400, b"\xff\xfe", b"\xed\xa0\x80"),
    *(b"[" * 3000, b'{"a":' * 3000, b"a." * 3000, "\u202e".encode(), b"2147483648", b"null", b"../../x"),
)
VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 2**31, 2**63, 2**200, 1.5, float("nan"), float("inf"), "", "x\x1b[2J", "../x", "\ud800"),
    *([], [1], {}, {"a": 1}, [[]], "9" * 300),
)


def _flip(rng: random.Random, raw: bytes) -> bytes:
    changed = bytearray(raw)
    for _ in range(rng.choice((1, 1, 2, 8))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _truncate(rng: random.Random, raw: bytes) -> bytes:
    return raw[: rng.randrange(len(raw))]


def _splice(rng: random.Random, raw: bytes) -> bytes:
    start, end, at = (rng.randrange(len(raw)) for _ in range(3))
    return raw[:at] + raw[min(start, end) : max(start, end)] + raw[at + rng.choice((0, 0, 9)) :]


def _insert(rng: random.Random, raw: bytes) -> bytes:
    at = rng.randrange(len(raw))
    return raw[:at] + rng.choice(TOKENS) + raw[at + rng.choice((0, 0, 1, 5)) :]


def _swap(rng: random.Random, raw: bytes) -> bytes:
    """Put a value of another type, or nothing, somewhere into JSON."""
    whole = json.loads(raw)
    places: list[tuple[Any, Any]] = []
    open_ = [whole]
    while open_:
        node = open_.pop()
        inside = list(node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ())
        places += [(node, key) for key, _ in inside]
        open_ += [value for _, value in inside]
    node, key = rng.choice(places)
    if rng.random() < 0.2:
        del node[key]
    else:
        node[key] = rng.choice(VALUES)
    return json.dumps(whole).encode()


def mutated(rng: random.Random, path: Path, raw: bytes) -> bytes:
    ways = [_flip, _truncate, _splice, _insert]
    if path.suffix == ".json":
        ways = [_swap, *ways] if rng.random() < 0.5 else [_swap]
    return rng.choice(ways)(rng, raw)


def _write_sound_files(folder: Path) -> None:
    """A prepared data set, a finished run, and raw files of each kind."""
    rng = np.random.default_rng(0)
    pairs = [(user, item) for user in range(8) for item in range(9) if (user + item) % 3]
    splits = ["train", "validation", "test"]
    split = [splits[0] if n % 6 < 4 else splits[n % 6 - 3] for n in range(len(pairs))]
    table = pd.DataFrame(pairs, columns=["user", "item"]).astype("int32").assign(split=split)
    values = rng.normal(size=(9, 4)).astype(np.float32)
    dataset = PreparedDataset(
        "small",
        pd.DataFrame({"user": np.arange(8, dtype=np.int32), "id": [f"u{n}" for n in range(8)]}),
        pd.DataFrame(
            {"item": np.arange(9, dtype=np.int32), "id": [f"i{n}" for n in range(9)], "title": list("abcdefghi")}
        ),
        table,
        {"visual": Features(values, np.ones(9, bool), {"name": "test"})},
        {"source": "published", "cold_users": "keep"},
        {"train.json": "0" * 64},
    )
    write_prepared(dataset, folder / "data" / "small")
    write_run(folder / "runs", settings={"model": "mf", "dataset": "small", "ks": (20,)}, scores=[0.1, 0.2], test=0.15)
    clicks = [f"u{user},i{item},{1_600_000_000 + user * item}" for user, item in pairs]
    (folder / "clicks.csv").write_text("\n".join(["user,item,timestamp", *clicks]) + "\n")
    records = [{"user": f"u{user}", "item": f"i{item}"} for user, item in pairs]
    (folder / "clicks.jsonl").write_text("\n".join(map(json.dumps, records)) + "\n")
    pd.DataFrame(records).to_parquet(folder / "clicks.parquet")
    items = [f'i{item},"title {item}"' for item in range(9)]
    (folder / "items.csv").write_text("\n".join(["item,title", *items]) + "\n")
    (folder / "datasets.toml").write_text(
        '[datasets.mine]\ntitle = "Mine"\nsource = "table"\nk-core = 1\n[datasets.mine.table]\nuser = "user"\n'
    )
    (folder / "settings.toml").write_text('lr = 0.01\nepochs = 3\nks = [5, 20]\nselect-on = "recall@5"\n')
    (folder / "ranges.toml").write_text("lr = [1e-4, 1e-2]\nbatch-size = [256, 512]\n")
    published = folder / "published"
    published.mkdir()
    for name, wanted in (("train", "train"), ("val", "validation"), ("test", "test")):
        lists = {str(user): table[(table.user == user) & (table.split == wanted)].item.tolist() for user in range(8)}
        (published / f"{name}.json").write_text(json.dumps(lists))
    np.save(published / "image_feat.npy", values)
    with zipfile.ZipFile(folder / "published.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(published.iterdir()):
            archive.write(path, f"published/{path.name}")
    _write_folders_of_other_tools(folder, table, values)


def _write_folders_of_other_tools(folder: Path, table: pd.DataFrame, values: np.ndarray) -> None:
    label = table["split"].map({"train": 0, "validation": 1, "test": 2})
    mmrec, recbole = folder / "mmrec", folder / "recbole"
    mmrec.mkdir()
    rows = table.assign(x_label=label, timestamp=range(len(table))).drop(columns="split")
    rows.rename(columns={"user": "userID", "item": "itemID"}).to_csv(mmrec / "shop.inter", sep="\t", index=False)
    for kind, name, number, count in (("u", "user_id", "userID", 8), ("i", "asin", "itemID", 9)):
        lines = [f"{name},{number}", *(f"{kind}{n},{n}" for n in range(count))]
        (mmrec / f"{kind}_id_mapping.csv").write_text("\n".join(lines) + "\n")
    (mmrec / "items.csv").write_text("\n".join(["item,id,title", *(f'{n},i{n},"title {n}"' for n in range(9))]) + "\n")
    np.save(mmrec / "image_feat.npy", values)
    recbole.mkdir()
    for split, part in (("train", "train"), ("validation", "valid"), ("test", "test")):
        rows = table.loc[table["split"] == split, ["user", "item"]]
        rows.columns = ["user_id:token", "item_id:token"]
        rows.to_csv(recbole / f"shop.{part}.inter", sep="\t", index=False)
    items = ["item_id:token\ttitle:token_seq\tclip:float_seq", *(f"{n}\ttitle {n}\t{n} 0.5" for n in range(9))]
    (recbole / "shop.item").write_text("\n".join(items) + "\n")
    vectors = ["iid:token\tvector:float_seq", *(f"{n}\t1.5 {n}" for n in range(9))]
    (recbole / "shop.itememb").write_text("\n".join(vectors) + "\n")


def _interrupt(run: Path) -> None:
    """Let a finished run be one to resume."""
    (run / "result.json").unlink()


TABLE = ("prep", "shop", "--items", "items.csv", "--text", "title", "--text-encoder", "tfidf", "--k-core", "1")
TRAIN = ("train", "--dataset", "small", "--model", "mmssl", "--epochs", "1", "--ks", "5", "--select-on", "recall@5")
RESUME = ("train", "--resume", "trained", "--runs-dir", "resumed", "--device", "cpu")
CASES: dict[str, tuple[tuple[str, ...], ...]] = {
    "data/small/manifest.json": (("prep", "small", "--check"), ("datasets",)),
    "data/small/users.parquet": (("prep", "small", "--check"),),
    "data/small/items.parquet": (("prep", "small", "--check"),),
    "data/small/interactions.parquet": (("prep", "small", "--check"),),
    "data/small/features/visual.npz": (("prep", "small", "--check"),),
    "runs/run-000/result.json": (("runs",), ("curves",), ("report",)),
    "runs/run-000/config.toml": (("runs",), ("curves",), ("report",)),
    "runs/run-000/metrics.parquet": (("runs",), ("report",)),
    "runs/run-000/per_user.parquet": (("report",),),
    "runs/run-000/model.safetensors": (("evaluate", "run-000", "--device", "cpu"),),
    "clicks.csv": ((*TABLE, "--interactions", "clicks.csv"),),
    "clicks.jsonl": ((*TABLE, "--interactions", "clicks.jsonl"),),
    "clicks.parquet": ((*TABLE, "--interactions", "clicks.parquet"),),
    "items.csv": ((*TABLE, "--interactions", "clicks.csv"),),
    "data/.prep/shop/*/step.json": ((*TABLE, "--interactions", "clicks.csv"),),
    "data/.prep/shop/hashes.json": ((*TABLE, "--interactions", "clicks.csv"),),
    "datasets.toml": (("datasets",),),
    "settings.toml": (("compare", "--models", "mf", "--dataset", "small", "--config", "settings.toml", "--dry-run"),),
    "ranges.toml": (("tune", "mf", "--dataset", "tiktok", "--ranges", "ranges.toml"),),
    "resumed/*/state.pt": (RESUME,),
    "resumed/*/log.jsonl": (RESUME,),
    "runs/trained/analysis.json": (("report",), ("analyze", "trained")),
    "mmrec/*": (("prep", "mm", "--from", "mmrec"),),
    "recbole/*": (("prep", "rb", "--from", "recbole"),),
    "published/*.json": (("prep", "pub", "--from", "published"),),
    "published/image_feat.npy": (("prep", "pub", "--from", "published"),),
    "published.zip": (("prep", "pub", "--from", "published.zip"),),
}


def _restate(folder: Path, path: Path) -> None:
    """Let the manifest state the hash of the mutated file, so that what is behind the checksum is met too."""
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][path.relative_to(folder).as_posix()] = {"sha256": sha256_of(path), "bytes": path.stat().st_size}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def _faults(answer: Answer) -> Iterator[str]:
    lines = answer.err.splitlines()
    errors = [line for line in lines if line.startswith("Error")]
    if answer.code not in (0, 1, 2):
        yield f"exit code {answer.code}"
    if len(errors) != (answer.code != 0) or (errors and lines[-1] != errors[0]):
        yield f"{len(errors)} errors"
    said = answer.out + answer.err
    yield from (f"it says {word!r}" for word in ("Traceback", "bug in mmssl", "Warning") if word in said)
    if not all(ch.isprintable() or ch in "\n\u200c\u200d\u00a0\u3000" for ch in said):
        yield "it prints what cannot be printed"


def _state(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _restore(folder: Path, sound: Path, files: dict[Path, tuple[int, int]]) -> None:
    """Make ``folder`` as ``sound`` again; only what differs is copied."""
    for path in sorted(folder.rglob("*"), reverse=True):
        name = path.relative_to(folder)
        if path.is_dir() and not (sound / name).is_dir():
            shutil.rmtree(path)
        elif path.is_file() and name not in files:
            path.unlink()
    for name, state in files.items():
        path = folder / name
        if not path.is_file() or _state(path) != state:
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(sound / name, path)


def test_mutated_files_end_in_a_result_or_a_sentence(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmssl_cli.reporting.style.save", lambda figure, path: path)  # drawing takes seconds
    sound = tmp_path.with_name(f"{tmp_path.name}-sound")
    sound.mkdir()
    monkeypatch.chdir(sound)
    _write_sound_files(sound)
    monkeypatch.chdir(tmp_path)
    shutil.copytree(sound, tmp_path, dirs_exist_ok=True)
    assert cli(*TABLE, "--interactions", "clicks.csv").code == 0
    shutil.rmtree(tmp_path / "data" / "shop")
    assert cli(*TRAIN).code == 0
    trained = next(path for path in (tmp_path / "runs").iterdir() if path.name != "run-000")
    trained.rename(tmp_path / "runs" / "trained")
    assert cli("analyze", "trained").code == 0
    shutil.copytree(tmp_path / "runs" / "trained", tmp_path / "resumed" / "trained")
    _interrupt(tmp_path / "resumed" / "trained")
    assert cli(*RESUME).code == 0
    _interrupt(tmp_path / "resumed" / "trained")
    shutil.rmtree(sound)
    shutil.copytree(tmp_path, sound)
    files = {path.relative_to(sound): _state(path) for path in sound.rglob("*") if path.is_file()}
    bad, codes = [], Counter[int]()
    patterns = list(CASES)
    for number in range(MUTATIONS):
        rng = random.Random(number)
        pattern = patterns[number % len(patterns)]
        path = rng.choice(sorted(tmp_path.glob(pattern)))
        path.write_bytes(mutated(rng, path, path.read_bytes()))
        small = tmp_path / "data" / "small"
        if small in path.parents and path.name != "manifest.json" and rng.random() < 0.8:
            _restate(small, path)
        command = rng.choice(CASES[pattern])
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            try:
                answer = cli(*command)
                codes[answer.code] += 1
                faults = [f"{fault}: {answer.err[-400:]}" for fault in _faults(answer)]
            except Exception:
                faults = [traceback.format_exc()[-900:]]
        bad += [f"{number}: {path}: {' '.join(command)}: {fault}" for fault in faults]
        _restore(tmp_path, sound, files)
    assert not bad, "\n".join(bad)
    assert min(codes[0], codes[1]) > MUTATIONS / 10, codes  # the mutations are neither harmless nor all fatal
