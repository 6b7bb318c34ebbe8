"""Sound files of every format that is read, and mutations of them."""

from __future__ import annotations

import json
import random
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipelines.prepared import Features, PreparedDataset, write_prepared
from tests.helpers.written_runs import write_run

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
    """Return the bytes of a file with one mutation, which ``rng`` draws."""
    ways = [_flip, _truncate, _splice, _insert]
    if path.suffix == ".json":
        ways = [_swap, *ways] if rng.random() < 0.5 else [_swap]
    return rng.choice(ways)(rng, raw)


def write_sound_files(folder: Path) -> None:
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
