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
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipelines.io.files import sha256_of
from tests.conftest import Answer
from tests.helpers.mutations import mutated, write_sound_files

Cli = Callable[..., Answer]
MUTATIONS = int(os.environ.get("FUZZ_MUTATIONS", "240"))


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
    write_sound_files(sound)
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
