"""Random search of a model's settings on a prepared data set, by the validation metric alone.

Trial 0 is the setting as shipped, with what `--set` fixes; the others draw from the ranges of a TOML file. Trial n
depends on the ranges, `--seed` and n, not on the trials before it, so a search that was cut off goes on where it
stood, and a larger `--trials` extends it. Each trial is one line of a JSONL file and holds no test metric: only the
selected setting is trained again, with `--report-seeds` other seeds, and tested.

Example: python -m benchmarks.search_settings --dataset demo --model mmssl --trials 40 --jobs 2 --set epochs=60
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import multiprocessing
import random
import time
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch

from mmssl_cli.config import TrainSettings, merge_settings
from mmssl_cli.data.interactions import InteractionData, load_interactions
from mmssl_cli.evaluation.metrics import evaluate
from mmssl_cli.models.registry import build_model
from mmssl_cli.training.loop import DivergedError, TrainingLoop, pick_device
from mmssl_cli.training.trainer import Progress
from pipelines.errors import InputError, MmsslError
from pipelines.manifest import read_manifest

RANGES = Path(__file__).with_name("search_ranges.toml")


@dataclass(frozen=True)
class Search:
    """What determines every trial of a search."""

    dataset: str
    model: str
    data_dir: Path
    fixed: dict[str, Any]
    ranges: dict[str, Any]
    seed: int
    seeds_a_trial: int
    threads: int

    @property
    def digest(self) -> str:
        """Stands for the search in its results: data, settings that are not drawn, ranges and seed."""
        data = read_manifest(self.data_dir / self.dataset).digest
        base = self.settings({}).model_dump_json()  # a search does not go on over other shipped settings
        # The order of the ranges counts, for it is the order of the draws.
        parts = [data, base, sorted(self.fixed), list(self.ranges.items()), self.seed, self.seeds_a_trial]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]

    def drawn(self, trial: int) -> dict[str, Any]:
        """The settings that trial ``trial`` draws; trial 0 draws none."""
        chance = random.Random(f"{self.seed}/{trial}")
        return {key: _draw(of, chance) for key, of in self.ranges.items() if key not in self.fixed} if trial else {}

    def settings(self, drawn: Mapping[str, Any], seed: int | None = None) -> TrainSettings:
        """Class defaults < shipped settings < drawn < fixed."""
        given = {**drawn, **self.fixed, "model": self.model, "dataset": self.dataset}
        return merge_settings(given if seed is None else {**given, "seed": seed})


def _draw(of: Any, chance: random.Random) -> Any:
    if isinstance(of, list):
        return chance.choice(of)
    ((kind, (low, high)),) = of.items()
    value = math.exp(chance.uniform(math.log(low), math.log(high))) if kind == "log" else chance.uniform(low, high)
    return float(f"{value:.2g}")


def fit(settings: TrainSettings, data_dir: Path, *, test: bool = False) -> dict[str, Any]:
    """Train one run in memory, as ``mmssl train`` does: validation metrics of its best epoch, test only if asked."""
    device = pick_device(settings.device)
    torch.set_float32_matmul_precision("high" if settings.precision == "tf32" else "highest")
    torch.manual_seed(settings.seed)
    scaling = (settings.feature_scaling, settings.feature_components)
    data = _load(data_dir / settings.dataset, settings.modalities, *scaling).to(device)
    loop = TrainingLoop(build_model(data, settings), data, settings)
    progress, best_state = Progress([]), {}
    started = time.perf_counter()
    while progress.goes_on(settings):
        progress.records.append(loop.run_epoch())
        if loop.epoch % settings.evaluate_every and loop.epoch < settings.epochs:
            continue
        with loop.averaged_weights():
            metrics = _measure(loop, "validation")
            if metrics[settings.select_on] > progress.best_score:
                progress.best_epoch, progress.best_score = loop.epoch, metrics[settings.select_on]
                progress.best_metrics = metrics
                best_state = {name: value.clone() for name, value in loop.model.state_dict().items()} if test else {}
    result: dict[str, Any] = {"validation": progress.best_metrics, "best_epoch": progress.best_epoch}
    result.update({"epochs": loop.epoch, "seconds": time.perf_counter() - started})
    if test:
        loop.model.load_state_dict(best_state)
        result["test"] = _measure(loop, "test")
    return result


@torch.no_grad()
def _measure(loop: TrainingLoop, split: Any) -> dict[str, float]:
    loop.model.eval()
    try:
        return evaluate(*loop.model.represent(), loop.data, split, loop.settings.all_ks)[0]
    except InputError:  # a K above the number of items is no fault of the trial
        raise
    except MmsslError as problem:  # scores that are not finite
        raise DivergedError(str(problem)) from problem


@lru_cache(maxsize=4)
def _load(folder: Path, modalities: tuple[str, ...] | None, scaling: str, components: int) -> InteractionData:
    return load_interactions(folder, modalities, scaling, components)


def run_trial(search: Search, trial: int) -> dict[str, Any]:
    """One line of the results: what was drawn and what validation says, as means over the trial's seeds."""
    torch.set_num_threads(search.threads)
    drawn = search.drawn(trial)
    record: dict[str, Any] = {"search": search.digest, "trial": trial, "drawn": drawn}
    settings = search.settings(drawn)
    seeds = range(settings.seed, settings.seed + search.seeds_a_trial)
    try:
        runs = [fit(search.settings(drawn, seed), search.data_dir) for seed in seeds]
    except DivergedError as problem:
        return {**record, "score": None, "problem": str(problem)}
    validation = {name: fmean(run["validation"][name] for run in runs) for name in runs[0]["validation"]}
    cost = {key: fmean(run[key] for run in runs) for key in ("best_epoch", "epochs", "seconds")}
    return {**record, "score": validation[settings.select_on], "validation": validation, **cost}


def run_search(search: Search, trials: int, jobs: int, out: Path) -> list[dict[str, Any]]:
    """Run the trials that ``out`` does not hold yet; all records of this search, best first."""
    digest = search.digest
    done = [record for record in _read(out) if record["search"] == digest and record["trial"] < trials]
    missing = sorted(set(range(trials)) - {record["trial"] for record in done})
    out.parent.mkdir(parents=True, exist_ok=True)
    cut_off = out.exists() and not out.read_text(encoding="utf-8").endswith("\n")
    with out.open("a", encoding="utf-8") as file:
        if cut_off:
            file.write("\n")
        for record in _in_parallel([(search, trial) for trial in missing], jobs):
            file.write(json.dumps(record) + "\n")
            file.flush()
            done.append(record)
            print(_line(record), flush=True)
    return sorted(done, key=lambda record: (-(record["score"] or -1.0), record["trial"]))


def _in_parallel(arguments: Sequence[tuple[Search, int]], jobs: int) -> Iterator[dict[str, Any]]:
    if jobs == 1:
        yield from (run_trial(*each) for each in arguments)
        return
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        for finished in as_completed([pool.submit(run_trial, *each) for each in arguments]):
            yield finished.result()


def _read(out: Path) -> Iterable[dict[str, Any]]:
    """The whole lines of a results file; one cut off at its end is left out, and its trial runs again."""
    for line in out.read_text(encoding="utf-8").splitlines() if out.exists() else []:
        try:
            yield json.loads(line)
        except ValueError:
            continue


def report(search: Search, best: Mapping[str, Any], seeds: int) -> dict[str, Any]:
    """Train the selected setting with ``seeds`` seeds that took no part in the search, and test it."""
    torch.set_num_threads(search.threads)
    first = search.settings(best["drawn"]).seed + search.seeds_a_trial
    runs = [fit(search.settings(best["drawn"], first + n), search.data_dir, test=True) for n in range(seeds)]
    means = {}
    for split in ("validation", "test"):
        columns = {name: [run[split][name] for run in runs] for name in runs[0][split]}
        means[split] = {name: [fmean(values), stdev(values) if seeds > 1 else 0.0] for name, values in columns.items()}
    return {"seeds": [first + n for n in range(seeds)], "epochs": [run["epochs"] for run in runs], **means}


def _line(record: Mapping[str, Any]) -> str:
    drawn = " ".join(f"{key}={value}" for key, value in record["drawn"].items()) or "as shipped"
    score = "diverged" if record["score"] is None else f"{record['score']:.4f} (epoch {record['best_epoch']:.0f})"
    return f"trial {record['trial']:3}  {score}  {drawn}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Search, print the best trials and the selected setting as TOML, then its test metrics."""
    options = _parse(arguments)
    ranges = tomllib.loads(options.ranges.read_text(encoding="utf-8"))
    fixed = dict(part.split("=", 1) for part in options.set)
    search = Search(
        dataset=options.dataset,
        model=options.model,
        data_dir=options.data_dir,
        fixed={_field(key): value for key, value in fixed.items()},
        ranges={_field(key): value for key, value in ranges.get(options.model, {}).items()},
        seed=options.seed,
        seeds_a_trial=options.seeds_a_trial,
        threads=options.threads,
    )
    out = options.out or Path(".bench") / f"search-{options.dataset}-{options.model}.jsonl"
    records = run_search(search, options.trials, options.jobs, out)
    print(f"\nBest by validation {search.settings({}).select_on}, of {len(records)} trials in {out}:")
    for record in records[:5]:
        print(_line(record))
    selected = search.settings(records[0]["drawn"]).model_dump()
    print("\nSelected, over the shipped settings (TOML for --config):")
    for key in [*records[0]["drawn"], *search.fixed]:
        print(f"{key.replace('_', '-')} = {json.dumps(selected[key])}")
    if options.report_seeds:
        answer = report(search, records[0], options.report_seeds)
        print(f"\nSeeds {answer['seeds']}, mean and deviation, {answer['epochs']} epochs:")
        for split in ("validation", "test"):
            cells = (f"{name} {mean:.4f} ± {deviation:.4f}" for name, (mean, deviation) in answer[split].items())
            print(f"{split:10}  {'  '.join(cells)}")


def _field(key: str) -> str:
    return key.strip().replace("-", "_")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--dataset", default="demo", help="prepared data set")
    parser.add_argument("--model", default="mmssl", help="model, a table of the ranges")
    parser.add_argument("--trials", type=int, default=40, help="trials in all, those already done included")
    parser.add_argument("--seed", type=int, default=0, help="seed of the draws")
    parser.add_argument("--seeds-a-trial", type=int, default=1, help="trainings a trial, whose mean counts")
    parser.add_argument("--report-seeds", type=int, default=5, help="seeds to test the selected setting with; 0: none")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="fix a setting; repeatable")
    parser.add_argument("--ranges", type=Path, default=RANGES, help="TOML file of ranges")
    parser.add_argument("--jobs", type=int, default=1, help="trials at a time")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads a trial")
    parser.add_argument("--data-dir", type=Path, default=Path("data"), help="folder of the prepared data sets")
    parser.add_argument("--out", type=Path, help="results; .bench/search-DATASET-MODEL.jsonl where it is left out")
    options = parser.parse_args(arguments)
    for part in options.set:
        if "=" not in part:
            parser.error(f"--set {part!r}: expected NAME=VALUE, such as --set epochs=60")
    return options


if __name__ == "__main__":
    try:
        main()
    except MmsslError as problem:
        raise SystemExit(f"Error: {problem}") from None
