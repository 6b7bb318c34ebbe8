"""One table of what the parts of ``gpu_check.sh`` found, from the folder of their reports; the exit code judges them.

Example: python -m benchmarks.gpu_table FOLDER
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.command import columns, listed, spread

CHECKS = ("recorded-steps", "one-step")
#: Exit codes of ``timeout``, and of what it had to kill.
OUT_OF_TIME = (124, 137)

#: What was measured, the seconds, and what is said beside them.
Row = tuple[str, str, str]


@dataclass(frozen=True)
class Part:
    """A part of the script: its name, exit code, seconds, and what it printed."""

    name: str
    code: int
    seconds: int
    out: str
    log: str

    @property
    def report(self) -> dict[str, Any]:
        """The report of a benchmark; empty where there is none."""
        return json.loads(self.out) if not self.code and self.out.startswith("{") else {}

    @property
    def state(self) -> str:
        """``passed``, ``failed``, ``out of time``, or ``measured`` for what only takes time."""
        if self.code in OUT_OF_TIME:
            return "out of time"
        if self.code or not self.report.get("agree", True):
            return "failed"
        return "passed" if self.name in CHECKS else "measured"

    @property
    def bad(self) -> bool:
        """A check that did not pass, or a benchmark that failed."""
        return self.state == "failed" or (self.name in CHECKS and self.state != "passed")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return 1 if a check did not pass or a benchmark failed."""
    [folder] = sys.argv[1:] if arguments is None else arguments
    parts = list(_parts(Path(folder)))
    machine: dict[str, Any] = next((part.report["machine"] for part in parts if part.report), {})
    print(listed({"date": f"{datetime.now():%Y-%m-%d}", **machine}) + "\n")
    print(columns(("", "seconds", ""), [row for part in parts for row in _rows(part)]))
    bad = [part.name for part in parts if part.bad]
    print(f"\nNot passed: {', '.join(bad)}" if bad else "\nEverything that is a check passed.")
    return int(bool(bad))


def _parts(folder: Path) -> Iterator[Part]:
    for line in (folder / "parts").read_text().splitlines():
        name, code, seconds = line.split()
        files = (folder / f"{name}.{kind}" for kind in ("out", "log"))
        out, log = (path.read_text(errors="replace") if path.is_file() else "" for path in files)
        yield Part(name, int(code), int(seconds), out, log)


def _rows(part: Part) -> Iterator[Row]:
    yield part.name, str(part.seconds), part.state
    report, said = part.report, (part.out if part.name == "recorded-steps" else part.log).strip().splitlines()
    if said and (not report or part.state == "failed"):
        yield "  says", "", said[-1][:100]
    tables: list[Callable[[dict[str, Any]], Iterator[Row]]] = [_differences, _times, _results, _stages]
    for table in tables:
        for what, seconds, beside in table(report):
            yield f"  {what}", seconds, beside


def _differences(report: dict[str, Any]) -> Iterator[Row]:
    """The rows of ``one_step``: its agreement."""
    for name, difference in report.get("differences", {}).items():
        yield f"{name}, relative difference", "", f"{difference:.1e}"


def _times(report: dict[str, Any]) -> Iterator[Row]:
    """The rows of ``bench_epoch``: epochs, evaluation, and steps beside the dense transcription."""
    for at, row in enumerate(report.get("times", [])):
        yield row["what"], spread(row["seconds"]), "" if at else f"peak {_gigabytes(report['peak_memory_bytes'])}"
    for row in report.get("floor", [])[1:]:  # operator by operator
        yield "a step", f"{row['step_ms']['median'] / 1e3:.4f}", f"{row['ratio']['median']:.1f} times its operators"
    for row in report.get("dense", [])[:1]:
        apart = report["agreement"]["largest_relative_difference_of_losses"]
        yield "a step of the dense transcription", f"{row['dense']['median']:.4f}", f"losses differ by {apart:.1e}"


def _results(report: dict[str, Any]) -> Iterator[Row]:
    """The rows of ``bench_models``, ``bench_ranking`` and ``one_step``."""
    for row in report.get("results", []):
        beside = ""
        if "peak_memory_bytes" in row:
            beside = f"peak {_gigabytes(row['peak_memory_bytes'])}"
        elif "ratio_to_bare" in row:
            beside = f"{row['ratio_to_bare']['median']:.2f} times the bare product"
        yield row.get("model") or row.get("what") or f"a step on {row['a step on']}", spread(row["seconds"]), beside


def _stages(report: dict[str, Any]) -> Iterator[Row]:
    """The rows of ``bench_size``."""
    for row in report.get("stages", []):
        on_device = f", {_gigabytes(row['device_bytes'])} on the device" if "device_bytes" in row else ""
        yield row["stage"], f"{row['seconds']:.2f}", f"peak {_gigabytes(row['peak_bytes'])}{on_device}"
    for name, seconds in report.get("processor_seconds_for_all_users", {}).items():
        yield f"{name}, for all users", f"{seconds:.0f}", "extrapolated, processor time"


def _gigabytes(count: float) -> str:
    return f"{count / 1e9:.2f} GB"


if __name__ == "__main__":
    sys.exit(main())
