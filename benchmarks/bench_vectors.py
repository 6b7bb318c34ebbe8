"""How fast is the file of published image features read? Wanted rows out of it, beside a bare read of its bytes.

The file is written first and stays in the page cache. Both are timed in turn, repeat by repeat, so that what else
the machine does falls on both alike; a ratio is that of one repeat, and its median and quartiles are shown. There
are two bare reads: one that fills a buffer again and again, which is all that passing over a file can take, and one
that keeps all bytes in memory, which is what wanting every row comes to.

Example: python -m benchmarks.bench_vectors --records 20000 --json
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.machine import describe_machine
from pipelines.features.vectors import DIM, ID_BYTES, RECORD_BYTES, VectorCounts, read_vectors

BUFFER_RECORDS = 64


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, then print a table or JSON."""
    options = _parse(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    sizes = {"records": options.records, "megabytes": options.records * RECORD_BYTES // 10**6}
    report = {"machine": describe_machine(), "sizes": sizes, "results": measure(options)}
    print(json.dumps(report, indent=2) if options.json else _table(report))


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Seconds, and speed as a share of the bare read's (below 1: slower), as median and quartiles, of every case."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image_features.b"
        ids = write_vectors(path, options.records)
        tenth = ids[::10]
        cases: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
            "a tenth of the rows": (partial(_pass_over, path), partial(_read, path, tenth)),
            "every row": (partial(_pass_over, path), partial(_read, path, ids)),
            "every row, kept in memory": (partial(np.fromfile, path, np.uint8), partial(_keep, path, ids)),
        }
        results = []
        for case, (bare, ours) in cases.items():
            seconds = _interleaved(bare, ours, options.repeats)
            ratio = _quartiles(seconds[0] / seconds[1])
            results.append(
                {"case": case, "bare": _quartiles(seconds[0]), "read": _quartiles(seconds[1]), "ratio": ratio}
            )
        return results


def write_vectors(path: Path, records: int) -> list[str]:
    """Write a file of that many random records; their ids."""
    generator = np.random.default_rng(0)
    ids = [f"B{number:0{ID_BYTES - 1}d}" for number in range(records)]
    with path.open("wb") as file:
        for start in range(0, records, 1000):
            part = ids[start : start + 1000]
            block = np.zeros(len(part), dtype=[("id", f"S{ID_BYTES}"), ("values", "<f4", DIM)])
            block["id"] = part
            block["values"] = generator.random((len(part), DIM), dtype=np.float32)
            file.write(block.tobytes())
    return ids


def _pass_over(path: Path) -> None:
    buffer = bytearray(BUFFER_RECORDS * RECORD_BYTES)
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


def _read(path: Path, ids: Sequence[str]) -> None:
    counts = VectorCounts()
    for _ in read_vectors(path, ids, counts):
        pass
    if counts.found != len(ids):
        raise RuntimeError(f"found {counts.found} of {len(ids)} rows")


def _keep(path: Path, ids: Sequence[str]) -> np.ndarray:
    kept = np.empty((len(ids), DIM), dtype=np.float32)
    for positions, values in read_vectors(path, ids, VectorCounts()):
        kept[positions] = values
    return kept


def _interleaved(bare: Callable[[], object], ours: Callable[[], object], repeats: int) -> np.ndarray:
    """Seconds, [2, repeats]: of the bare read, and of ours."""
    seconds = np.empty((2, repeats + 1))
    for repeat in range(repeats + 1):
        for row, function in enumerate((bare, ours)):
            started = time.perf_counter()
            function()
            seconds[row, repeat] = time.perf_counter() - started
    return seconds[:, 1:]  # the first warms up


def _quartiles(values: np.ndarray) -> dict[str, float]:
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
    return {"median": float(median), "low": float(low), "high": float(high)}


def _table(report: dict[str, Any]) -> str:
    lines = [", ".join(f"{key} {value}" for key, value in report[part].items()) for part in ("machine", "sizes")]
    lines.append(f"\n{'':27}{'bare, seconds':>26}{'read, seconds':>26}{'speed against bare':>26}")
    for result in report["results"]:
        cells = (
            f"{result[key]['median']:.3f} ({result[key]['low']:.3f} to {result[key]['high']:.3f})"
            for key in ("bare", "read", "ratio")
        )
        lines.append(f"{result['case']:27}" + "".join(f"{cell:>26}" for cell in cells))
    return "\n".join(lines)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--records", type=int, default=12_000, help="of the file; default 12000, some 200 MB")
    parser.add_argument("--repeats", type=int, default=11, help="default 11")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; PyTorch's choice by default")
    parser.add_argument("--json", action="store_true", help="print JSON in place of a table")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
