"""One run from settings to result on disk: train, validate, checkpoint, select, test."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from mmssl_cli.config import TrainSettings, build_settings, settings_to_toml
from mmssl_cli.console.errors import explain
from mmssl_cli.console.training import Reporter
from mmssl_cli.data.interactions import InteractionData
from mmssl_cli.distributed.collectives import broadcast, is_rank_zero, world_size
from mmssl_cli.distributed.process_group import check_same, fail_together
from mmssl_cli.evaluation.ann_index import check_installed
from mmssl_cli.evaluation.warm_cold import WarmCold
from mmssl_cli.models.registry import build_model, model_class
from mmssl_cli.runs.data_match import changed_code, check_same_data, code_of_both, data_identity, model_code
from mmssl_cli.runs.folder import RESULT, RunFolder, new_run_id
from mmssl_cli.text import pluralize
from mmssl_cli.training.checkpoint import Checkpoint, restore
from mmssl_cli.training.device import device_name, environment, keep_freed_memory, peak_memory, reset_peak_memory
from mmssl_cli.training.epochs import TrainState, count_items, evaluate_on_test, follow_epochs, run_epochs
from mmssl_cli.training.fitting import FittingLoop
from mmssl_cli.training.loading import load_data, load_weights, modalities_of
from mmssl_cli.training.loop import DivergedError, TrainingLoop, pick_device
from pipelines.errors import MmsslError, UsageError


@dataclass(frozen=True)
class RunResult:
    """A finished run: its folder, and the content of its result.json."""

    folder: Path
    record: dict[str, Any]


def train_run(settings: TrainSettings, data_dir: Path, runs_dir: Path, *, reporter: Reporter) -> RunResult:
    """Train a new run in a folder of its own under ``runs_dir``.

    Of several processes (see ``mmssl_cli.distributed``) rank 0 writes; the result is the same on all.

    Raises:
        InputError: the data set is not valid, or the folder cannot be written.
        UsageError: settings that do not fit the data set or the machine.
        DivergedError: a loss term became infinite or NaN.
    """
    with fail_together():
        device = pick_device(settings.device)
        reset_peak_memory(device)
        loop = _load(settings, data_dir, device, reporter)
        identity = data_identity(settings, data_dir)
    check_same(settings.model_dump(), identity, device)
    if not is_rank_zero():
        return _follow(loop)
    started = datetime.now()
    variant = getattr(settings, "variant", "full")
    name = settings.model if variant == "full" else f"{settings.model}-{variant}"
    run_id = new_run_id(settings.dataset, name, settings.seed, started)
    provenance = {
        **identity,
        **model_code(settings),
        **environment(device),
        "started": started.isoformat(timespec="milliseconds"),  # `latest` distinguishes runs of one second
    }
    run = RunFolder.create(runs_dir, run_id, settings_to_toml(settings, provenance))
    with run.lock():
        return broadcast(_train(run, loop, TrainState([]), reporter))


def resume_run(run_dir: Path, overrides: Mapping[str, Any], *, data_dir: Path, reporter: Reporter) -> RunResult:
    """Resume a run from its last checkpoint; on a CPU it ends with the numbers of an uninterrupted one.

    On a GPU sums may come in another order.

    Args:
        overrides: new values of ``epochs``, ``patience`` or ``device``.

    Raises:
        InputError: the run or its data set is damaged, or the data set is not the one it was trained on.
        CheckpointError: the checkpoint cannot be resumed from.
        MmsslError: another process writes the run.
    """
    run = RunFolder.open(run_dir)
    with run.lock() if is_rank_zero() else nullcontext():
        with fail_together():
            settings = build_settings({**run.settings().model_dump(), **overrides})
            device = pick_device(settings.device)
            reset_peak_memory(device)
            check_same_data(run, settings, data_dir)
            if (changed := changed_code(run, settings)) is not None:
                reporter.message(f"{changed} It goes on with the code as it is now.")
            loop = _load(settings, data_dir, device, reporter)
            state = restore(run, loop, reporter)
            identity = data_identity(settings, data_dir)
            if settings.epochs < len(state.records):
                raise UsageError(
                    f"--epochs is {settings.epochs}, but run {run.id} has trained {len(state.records)}; "
                    "give at least as many, or start a new run."
                )
            if _ended_early(state, settings):
                reporter.message(
                    f"Epoch {len(state.records)} was validated as the last of run {run.id}; a run of {settings.epochs} "
                    "epochs from the start is not validated there, and can select another epoch."
                )
        check_same(settings.model_dump(), identity, device)
        if not is_rank_zero():
            return _follow(loop)
        provenance = {**run.read_config()[1], **identity}
        if state.is_unfinished(settings) or not (run.path / RESULT).exists():
            # Code, device and versions are those of the last session that trained; log.jsonl has all devices.
            provenance |= {**code_of_both(provenance, settings), **environment(device)}
        run.write_config(settings_to_toml(settings, provenance))
        return broadcast(_train(run, loop, state, reporter))


def _ended_early(state: TrainState, settings: TrainSettings) -> bool:
    """Return whether the last epoch was validated for being the last alone, and others follow."""
    done = len(state.records)
    is_between = bool(done % settings.evaluate_every) and state.is_unfinished(settings)
    return is_between and f"validation/{settings.select_on}" in state.records[-1]


def fit(
    settings: TrainSettings,
    data_dir: Path,
    on_validation: Callable[[int, float], bool],
    checkpoint: Checkpoint | None = None,
) -> tuple[TrainState, bool]:
    """Train as ``train_run`` does, without writing a run and without reading the test split.

    Args:
        on_validation: called with each validated epoch and the best score so far; False ends the training.
        checkpoint: the training goes on from it, and is saved there; ``on_validation`` is called for the epochs
            before it first, whatever it returns.

    Returns:
        The state in the end, and False where ``on_validation`` ended the training.

    Raises:
        InputError, UsageError, DivergedError: as ``train_run`` does.
    """
    loop = make_loop(settings, load_data(settings, data_dir), pick_device(settings.device))
    state = TrainState([]) if checkpoint is None else checkpoint.restore(loop)
    column, highest = f"validation/{settings.select_on}", -math.inf
    for record in state.records:
        if column in record:
            highest = max(highest, record[column])
            on_validation(record["epoch"], highest)

    def on_epoch(record: dict[str, Any], best: bool) -> bool:
        continues = column not in record or on_validation(record["epoch"], state.best_score)
        if checkpoint is not None and continues and state.is_unfinished(settings):
            checkpoint.save_if_due(loop, state)
        return continues

    return state, run_epochs(loop, state, on_epoch)


def make_loop(settings: TrainSettings, data: InteractionData, device: torch.device) -> TrainingLoop:
    """A new model and its training loop, on a device.

    Raises:
        UsageError: settings that do not fit the data set, the model or the device.
    """
    if settings.precision == "tf32" and device.type != "cuda":
        raise UsageError("--precision tf32 needs a CUDA GPU; use --precision float32 here.")
    torch.set_float32_matmul_precision("high" if settings.precision == "tf32" else "highest")
    torch.manual_seed(settings.seed)
    keep_freed_memory()
    data = data.to(device)
    if settings.cuda_graph:
        _check_recordable(settings, data, device)
    if getattr(settings, "graph_search", "exact") == "faiss":
        check_installed("--graph-search faiss", "exact")
    model = build_model(data, settings)
    return (FittingLoop if model.has_fit() else TrainingLoop)(model, data, settings)


def _load(settings: TrainSettings, data_dir: Path, device: torch.device, reporter: Reporter) -> TrainingLoop:
    reporter.stage(f"Loading the data set {settings.dataset}")
    data = load_data(settings, data_dir)
    reporter.stage(f"Building {settings.model}")
    return make_loop(settings, data, device)


def _check_recordable(settings: TrainSettings, data: InteractionData, device: torch.device) -> None:
    problem = ""
    if device.type != "cuda":
        problem = f"this run is trained on the {device.type.upper()}"
    elif world_size() > 1:
        problem = "several processes share this training"
    elif not model_class(settings.model).static_shapes:
        problem = f"steps of {settings.model} vary in shape or wait for the host"
    elif any(values.device.type != device.type for values in data.features.values()):
        problem = "its features are too large for the GPU and come from the host at each step"
    if problem:
        raise UsageError(f"--cuda-graph records the steps of one process on a CUDA GPU, and {problem}; leave it out.")


def _follow(loop: TrainingLoop) -> RunResult:
    follow_epochs(loop)
    result: RunResult | None = broadcast(None)
    assert result is not None
    return result


def _train(run: RunFolder, loop: TrainingLoop, state: TrainState, reporter: Reporter) -> RunResult:
    settings = loop.settings
    parameters = sum(p.numel() for p in loop.model.main_parameters())
    info = {
        "run": run.id,
        **_described(loop),
        "device": str(loop.device) if world_size() == 1 else f"{world_size()} x {loop.device.type}",
        "epochs": settings.epochs,
        "select_on": settings.select_on,
        "parameters": parameters,
        "first_epoch": len(state.records) + 1,
    }
    is_over = not state.is_unfinished(settings) and (run.path / RESULT).exists()
    costs = {}
    if is_over:
        costs = {name: value for name, value in run.read_result().items() if name in ("peak_memory_bytes", "device")}
        more = "--epochs" if len(state.records) >= settings.epochs else "--patience"
        trained = pluralize(len(state.records), "epoch")
        reporter.message(f"Run {run.id} is already finished ({trained}); a larger {more} trains it further.")
    else:
        reporter.start(info)
    if info["modalities"] == []:
        reporter.message(f"Without modalities {settings.model} learns from the interactions alone.")
    run.append_log({"event": "start", **info, "at": _now()})
    if state.is_unfinished(settings):
        (run.path / RESULT).unlink(missing_ok=True)  # a result says that the run is over

    def on_epoch(record: dict[str, Any], best: bool) -> bool:
        # The state comes last: cut off before it, the epoch is trained again, to the same model and the same metrics.
        state.peak_memory = max(state.peak_memory, peak_memory(loop.device))
        run.write_metrics(state.records)
        run.write_state({**loop.state(), "progress": vars(state)})
        run.append_log({"event": "epoch", **record})
        while loop.model.warnings:
            text = loop.model.warnings.pop()
            run.append_log({"event": "warning", "message": text})
            reporter.message(text)
        mean = sum(r["seconds"] for r in state.records) / len(state.records)
        reporter.epoch({**record, "best": best, "eta_seconds": mean * (settings.epochs - record["epoch"])})
        return True

    with _early_end_recorded(run, loop, state):
        count = partial(count_items, loop, state) if settings.item_epochs else lambda: None
        run_epochs(loop, state, on_epoch, lambda model: run.save_model(model.state_dict()), reporter.batch, count)
        run.write_metrics(state.records)  # without an epoch that was cut off before its state and not trained again
        reporter.stage("Evaluating on test")
        record = _finish(run, loop, state, parameters, costs)
    if not is_over:
        reporter.finish(record)
    run.append_log({"event": "finish", "test": record["test"], "at": _now()})
    return RunResult(run.path, record)


def _finish(
    run: RunFolder, loop: TrainingLoop, state: TrainState, parameters: int, costs: Mapping[str, Any]
) -> dict[str, Any]:
    """Test the selected epoch, and write the result, with the ``costs`` of training where nothing was trained now."""
    settings = loop.settings
    load_weights(run, loop.model)
    warm_cold = WarmCold(loop.data.train, loop.data.test, settings.all_ks, settings.all_metrics)
    test, per_user = evaluate_on_test(loop, warm_cold.add)
    seconds = [record["seconds"] for record in state.records]
    result = {
        **_summary("finished" if len(seconds) >= settings.epochs else "stopped", loop, state, test),
        "parameters": parameters,
        "seconds_per_epoch": sum(seconds) / len(seconds),
        "seconds_to_best": sum(seconds[: state.best_epoch]),
        "peak_memory_bytes": max(state.peak_memory, peak_memory(loop.device)),
        "device": device_name(loop.device),
        **costs,
        **({"warm_cold": found} if (found := warm_cold.result()) else {}),
    }
    run.write_per_user(per_user)
    if state.item_counts is not None:
        counts = {name: column.numpy() for name, column in state.item_counts.items()}
        run.write_item_epochs(pd.DataFrame({**counts, "epochs": state.item_epochs}))
    from mmssl_cli.runs import figures  # matplotlib takes half a second, which the first epoch need not wait for

    figures.plot_curves(run.read_metrics(), run.path, select_on=settings.select_on, title=run.id)
    run.write_result(result)  # last: a run with a result is whole
    return result


@contextmanager
def _early_end_recorded(run: RunFolder, loop: TrainingLoop, state: TrainState) -> Iterator[None]:
    try:
        yield
    except DivergedError as problem:
        run.write_result({**_summary("diverged", loop, state, {}), "problem": str(problem)})
        run.append_log({"event": "diverged", "problem": str(problem), "at": _now()})
        good = f"the last good checkpoint is that of epoch {len(state.records)}, in {run.path}"
        good = good if state.records else "there is no good checkpoint yet"
        raise DivergedError(f"{problem}, and {good}.") from problem
    except (KeyboardInterrupt, Exception) as problem:
        line: dict[str, Any] = {"event": "interrupted"}
        if not isinstance(problem, KeyboardInterrupt):
            line = {"event": "failed", "problem": explain(problem)[0] or type(problem).__name__}
        with suppress(MmsslError):  # a full disk may have no room for this either
            run.append_log({**line, "epoch": len(state.records), "at": _now()})
        raise


def _summary(status: str, loop: TrainingLoop, state: TrainState, test: Mapping[str, float]) -> dict[str, Any]:
    """Return the fields of result.json common to finished, stopped and diverged runs."""
    return {
        "status": status,
        **_described(loop),
        "epochs": len(state.records),
        "best_epoch": state.best_epoch or None,
        "validation": state.best_metrics or {},
        "test": dict(test),
    }


def _described(loop: TrainingLoop) -> dict[str, Any]:
    settings = loop.settings
    return {
        "model": settings.model,
        "variant": getattr(settings, "variant", None),
        "label": settings.label,
        "dataset": settings.dataset,
        "modalities": modalities_of(loop.settings, loop.data),
        "seed": settings.seed,
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
