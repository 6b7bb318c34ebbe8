"""How fast is the file of published image features read? Wanted rows out of it, beside a bare read of its bytes.

The file is written first and stays in the page cache. Both are timed in turn, repeat by repeat, so that what else
the machine does falls on both alike; a ratio is that of one repeat, and its median and quartiles are shown. There
are two bare reads: one that fills a buffer again and again, which is all that passing over a file can take, and one
that keeps all bytes in memory, which is what wanting every row comes to.

Example: python -m benchmarks.bench_vectors --records 20000 --json
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.command import Report, add_numbers, columns, listed, parser_for, run, spread
from benchmarks.timing import in_turn, quartiles
from pipelines.features.vectors import DIM, ID_BYTES, RECORD_BYTES, VectorCounts, read_vectors

BUFFER_RECORDS = 64


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, then print a table or JSON."""
    parser = parser_for(__doc__, "threads")
    add_numbers(parser, records=12_000, repeats=11)  # some 200 MB
    run(parser, arguments, _report, _table)


def _report(options: argparse.Namespace) -> Report:
    sizes = {"records": options.records, "megabytes": options.records * RECORD_BYTES // 10**6}
    return {"sizes": sizes, "results": measure(options)}


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
            seconds = in_turn({"bare": bare, "read": ours}, options.repeats)
            figures = {**seconds, "ratio": seconds["bare"] / seconds["read"]}
            results.append({"case": case, **{name: quartiles(values) for name, values in figures.items()}})
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


def _table(report: Report) -> str:
    names = ("bare", "read", "ratio")
    rows = [(result["case"], *(spread(result[name]) for name in names)) for result in report["results"]]
    head = ("median (quartiles)", "bare, seconds", "read, seconds", "speed against bare")
    return f"{listed(report['sizes'])}\n\n{columns(head, rows)}"


if __name__ == "__main__":
    main()
