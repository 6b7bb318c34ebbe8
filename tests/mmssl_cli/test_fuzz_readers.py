"""Files of all formats, mutated from a seed, through the functions that read them: a value, or one of our errors.

Thousands of times as many as ``test_fuzz.py`` tries through whole commands:
``FUZZ_READS=100000 pytest tests/mmssl_cli/test_fuzz_readers.py`` looks longer.
"""

from __future__ import annotations

import os
import random
import shutil
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from mmssl_cli.config import merge_settings
from mmssl_cli.experiments.tuning.space import read_starts
from mmssl_cli.runs.folder import RunFolder
from pipelines import catalog
from pipelines.download.archive import extract_zip
from pipelines.errors import MmsslError
from pipelines.io.raw import MalformedRecords
from pipelines.layouts import lightgcn, mmrec, mmssl, recbole
from pipelines.layouts.numbered_ids import read_feature_files
from pipelines.prepared.manifest import read_manifest
from pipelines.prepared.storage import read_features, read_table
from pipelines.tables.interaction_reader import Part, gather
from pipelines.tables.table_file import ColumnFile
from tests.helpers.mutations import mutated, write_sound_files

READS = int(os.environ.get("FUZZ_READS", "3000"))


def _stream(path: Path) -> None:
    file = ColumnFile(path)
    for _ in file.batches(file.names, MalformedRecords(path)):
        pass


def _interactions(path: Path) -> None:
    gather([Part(path, "user", "item", "timestamp" if path.suffix == ".csv" else None)], MalformedRecords(path))


def _unpack(path: Path) -> None:
    with TemporaryDirectory(dir=path.parent) as place:
        extract_zip(path, Path(place) / "new")


def _recbole(path: Path) -> None:
    paths = recbole.files(path.parent)
    ids = recbole.read_interactions(paths, MalformedRecords(path)).item_ids
    recbole.read_items(paths, ids, MalformedRecords(path))


def _mmrec(path: Path) -> None:
    paths = mmrec.files(path.parent)
    ids = mmrec.read_interactions(paths, MalformedRecords(path)).item_ids
    mmrec.read_items(paths, ids, MalformedRecords(path))


def _run(read: Callable[[RunFolder], object]) -> Callable[[Path], object]:
    return lambda path: read(RunFolder.open(path.parent))


#: Files -> what reads them.
READERS: dict[str, Callable[[Path], object]] = {
    "data/small/manifest.json": lambda path: read_manifest(path.parent),
    "data/small/users.parquet": lambda path: read_table("users", path),
    "data/small/items.parquet": lambda path: read_table("items", path),
    "data/small/interactions.parquet": lambda path: read_table("interactions", path),
    "data/small/features/visual.npz": lambda path: read_features(path, (9, 4)),
    "runs/run-000/result.json": _run(RunFolder.read_result),
    "runs/run-000/config.toml": _run(RunFolder.settings),
    "runs/run-000/metrics.parquet": _run(RunFolder.read_metrics),
    "runs/run-000/per_user.parquet": _run(RunFolder.read_per_user),
    "runs/run-000/model.safetensors": _run(RunFolder.load_model),
    "runs/run-000/state.pt": _run(RunFolder.read_state),
    "clicks.csv": _interactions,
    "clicks.jsonl": _interactions,
    "clicks.parquet": _interactions,
    "items.csv": _stream,
    "datasets.toml": catalog._read,
    "settings.toml": lambda path: merge_settings({}, path),
    "ranges.toml": lambda path: read_starts(path, "mf"),
    "mmrec/*.inter": _mmrec,
    "mmrec/*.csv": _mmrec,
    "recbole/*.inter": _recbole,
    "recbole/*.item": _recbole,
    "published/*.json": mmssl.read_pairs,
    "published/image_feat.npy": lambda path: read_feature_files(path.parent),
    "lightgcn/train.txt": lambda path: lightgcn.read_pairs(path, MalformedRecords(path)),
    "published.zip": _unpack,
}


def test_mutated_files_are_read_or_refused(tmp_path: Path) -> None:
    write_sound_files(tmp_path)
    (tmp_path / "lightgcn").mkdir()
    lines = [f"{user} {' '.join(str(item) for item in range(user % 4 + 1))}" for user in range(8)]
    (tmp_path / "lightgcn" / "train.txt").write_text("\n".join(lines) + "\n")
    RunFolder.open(tmp_path / "runs" / "run-000").write_state({"epoch": 2, "progress": {"records": [], "best": 0.1}})
    for pattern, read in READERS.items():
        for path in tmp_path.glob(pattern):
            read(path)  # sound as they are
    files = [(read, path, path.read_bytes()) for pattern, read in READERS.items() for path in tmp_path.glob(pattern)]
    bad: list[str] = []
    outcomes = Counter[bool]()
    for number in range(READS):
        rng = random.Random(number)
        read, path, sound = files[number % len(files)]
        path.write_bytes(mutated(rng, path, sound))
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            warnings.simplefilter("error", UserWarning)
            try:
                read(path)
                outcomes[True] += 1
            except MmsslError:
                outcomes[False] += 1
            except Exception:
                bad.append(f"{number}: {path.relative_to(tmp_path)}: {traceback.format_exc()[-700:]}")
                shutil.copy(path, tmp_path / f"bad-{number}")
        path.write_bytes(sound)
    assert not bad, f"{len(bad)} of {READS}:\n" + "\n".join(bad[:20])
    assert min(outcomes[True], outcomes[False]) > READS / 10, outcomes
