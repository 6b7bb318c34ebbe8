"""Every benchmark, each in a process of its own, so that the memory of one is not counted to the next.

Example: python -m benchmarks --quick
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_SMALL = "--users 4096 --items 2048 --interactions 32768 --batch 512 --multiples 1,4 --steps 3 --rounds 1"
#: Name in the report -> module and flags, and further flags with --quick.
BENCHMARKS = {
    "epoch": ("bench_epoch", "--epochs 1 --repeats 3 --compared-steps 3"),
    "models": ("bench_models", "--epochs 1 --models mmssl,lightgcn,bm3,freedom"),
    "quality": ("bench_quality", "--epochs 2 --models mf"),
    "size": ("bench_size", "--users 20000 --items 4000 --interactions 200000 --feature-dim 256"),
    "growth": ("bench_size --grow all", _SMALL),
    "ranking": ("bench_ranking", "--repeats 3"),
    "interactions": ("bench_interactions", "--interactions 1000000 --repeats 1"),
    "processes": ("bench_processes", "--steps 2 --batch-sizes 1024 --models lightgcn"),
    "start": ("bench_start", "--runs 3 --repeats 1"),
    "encoders": ("bench_encoders", "--repeats 2 --texts 512 --pictures 64 --network resnet18"),
}
WITH_DATA = ("epoch", "models", "quality", "processes")
#: Flags of threads and devices are not for these.
SINGLE = ("interactions", "processes", "start")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run them one after the other; return 1 if one failed."""
    options = _parse(arguments)
    reports, failed = {}, False
    for name, (command, quick) in BENCHMARKS.items():
        module, *flags = command.split()
        flags += quick.split() if options.quick else []
        if name not in SINGLE:
            flags += ["--threads", str(options.threads), "--device", options.device]
        if options.data and name in WITH_DATA:
            flags += ["--data", str(options.data)]
        if not options.json:
            print(f"== {name} ==", flush=True)
        words = [sys.executable, "-m", f"benchmarks.{module}", *flags, *(["--json"] if options.json else [])]
        done = subprocess.run(words, stdout=subprocess.PIPE if options.json else None, text=True, check=False)
        failed |= done.returncode != 0
        if options.json and not done.returncode:
            reports[name] = json.loads(done.stdout)
    if options.json:
        print(json.dumps(reports, indent=2))
    return int(failed)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer repeats and models, two or three minutes in all")
    parser.add_argument("--data", type=Path, help="a prepared data set; else data/tiktok, else random data")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="of what can run on either")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; PyTorch's choice by default")
    parser.add_argument("--json", action="store_true", help="print JSON in place of tables")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
