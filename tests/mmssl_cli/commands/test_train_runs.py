"""`mmssl train` with its real trainer on a small data set: what it says, and how it goes on after it was cut off."""

from __future__ import annotations

import errno
import json
import re
import shlex
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmssl_cli.runs.folder import RunFolder
from mmssl_cli.runs.listing import resolve_run
from mmssl_cli.training.loop import TrainingLoop
from tests.conftest import Answer
from tests.helpers.model_cases import write_toy

Cli = Callable[..., Answer]
SMALL = "--dataset toy --embedding-dim 8 --batch-size 32 --ks 3,5 --select-on recall@5 --epochs 2 --device cpu"


@pytest.fixture
def train(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.setattr("mmssl_cli.runs.figures.plot_curves", lambda *given, **named: None)
    write_toy(tmp_path / "data")

    def run(*arguments: object, model: str = "mf") -> Answer:
        return cli("train", "--model", model, *SMALL.split(), *arguments)

    return run


def only_run(runs_dir: Path = Path("runs")) -> RunFolder:
    [folder] = runs_dir.iterdir()
    return RunFolder.open(folder)


def interrupt_in_epoch(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Press Ctrl-C in the n-th epoch that is trained from now on, whichever run it is of."""
    real, done = TrainingLoop.run_epoch, []

    def run_epoch(loop: TrainingLoop) -> dict[str, float]:
        done.append(loop)
        if len(done) == number:
            raise KeyboardInterrupt
        return real(loop)

    monkeypatch.setattr(TrainingLoop, "run_epoch", run_epoch)


def cut_off(train: Cli, *arguments: object, model: str = "mf") -> RunFolder:
    """A run of which one epoch was trained."""
    with pytest.MonkeyPatch.context() as patch:
        interrupt_in_epoch(2, patch)
        assert train(*arguments, model=model).code == 130
    return only_run()


def events(run: RunFolder) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run.path / "log.jsonl").read_text().splitlines()]


def test_the_title_names_model_variant_and_modalities(train: Cli) -> None:
    variant = train("--variant", "w/o-CL", "--modalities", "visual", "--graph-topk", 3, model="mmssl")
    assert variant.out.splitlines()[0] == "Test metrics of mmssl (w/o-CL, visual) on toy, seed 2023"
    assert "Training mmssl (w/o-CL, visual) on toy, seed 2023, cpu" in variant.err
    assert only_run().read_result()["modalities"] == ["visual"]
    whole = train("--epochs", 1, model="mmssl")
    assert whole.out.splitlines()[0] == "Test metrics of mmssl on toy, visual + text, seed 2023"
    assert "Finished after 1 epoch;" in whole.err
    assert train("--runs", 2).out.splitlines()[0] == "Test metrics of mf on toy, mean ± std over seeds 2023, 2024"


def test_without_modalities_the_model_is_said_to_be_plain_propagation(train: Cli) -> None:
    answer = train("--modalities", "none", model="mmssl")
    lines = answer.err.splitlines()
    assert lines.count("Without modalities mmssl learns from the interactions alone.") == 1
    assert answer.out.splitlines()[0] == "Test metrics of mmssl (without modalities) on toy, seed 2023"
    assert "plain propagation" not in train("--modalities", "none", model="lightgcn").err


def test_a_variant_needs_modalities(train: Cli) -> None:
    answer = train("--modalities", "none", "--variant", "w/o-GT", model="mmssl")
    assert answer.code == 2
    assert "Variant 'w/o-GT' changes a part of mmssl that works on modalities, and this run has none" in answer.err
    assert not Path("runs").exists()


def test_results_as_json(train: Cli) -> None:
    answer = json.loads(train("--runs", 2, "--json").out)
    records = [json.loads((Path(run.pop("folder")) / "result.json").read_text()) for run in answer["runs"]]
    assert [run.pop("run")[-5:] for run in answer["runs"]] == ["s2023", "s2024"]
    assert answer["runs"] == records
    values = [record["test"]["recall@5"] for record in records]
    assert answer["mean"]["recall@5"] == statistics.mean(values)
    assert answer["deviation"]["recall@5"] == pytest.approx(statistics.stdev(values))
    assert json.loads(train("--json").out)["deviation"] is None


def test_several_runs_go_on_where_they_were_cut_off(cli: Cli, train: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = json.loads(train("--runs", 3, "--seed", 7, "--runs-dir", "whole", "--json").out)
    with monkeypatch.context() as patch:
        interrupt_in_epoch(4, patch)
        cut = train("--runs", 3, "--seed", 7)
    first, second = sorted(Path("runs").iterdir(), key=lambda folder: folder.name[-1])
    said = f"Run 2 of 3 (seed 8) was interrupted; finished: seed 7 ({first.name}). Resume with: "
    assert cut.code == 130 and cut.err.splitlines()[-1].startswith(said)
    command = shlex.split(cut.err.splitlines()[-1].removeprefix(said))

    again = cli(*command[1:], "--json")

    assert command[:2] == ["mmssl", "train"] and again.code == 0, again.err
    assert f"Seed 7 is already finished: run {first.name}" in again.err
    answer = json.loads(again.out)
    assert [run["run"] for run in answer["runs"][:2]] == [first.name, second.name]
    assert len(list(Path("runs").iterdir())) == 3
    assert (answer["mean"], answer["deviation"]) == (whole["mean"], whole["deviation"])


def test_runs_of_other_settings_or_other_data_do_not_count(train: Cli, tmp_path: Path) -> None:
    train("--runs", 2)
    other = train("--runs", 2, "--lr", 0.5, "--continue")
    assert other.code == 0 and "already finished" not in other.err
    assert len(list(Path("runs").iterdir())) == 4
    write_toy(tmp_path / "data", held_out_seed=5)
    answer = train("--runs", 2, "--continue")
    assert answer.code == 0 and answer.err.count("was trained on another preparation of data set 'toy'") == 2
    assert "already finished" not in answer.err and len(list(Path("runs").iterdir())) == 6
    assert train("--runs", 2, "--continue").err.count("already finished") == 2


@pytest.mark.parametrize("name", ["state.pt", "model.safetensors"])
def test_an_unfinished_run_that_is_damaged_is_skipped_and_its_seed_trained_anew(train: Cli, name: str) -> None:
    run = cut_off(train)
    content = (run.path / name).read_bytes()
    (run.path / name).write_bytes(content[: len(content) // 2])
    before = {file.name: file.read_bytes() for file in run.path.iterdir()}

    answer = train("--continue")

    assert answer.code == 0, answer.err
    assert f"Run {run.id} cannot be resumed and is trained anew. " in answer.err
    assert f"{name} is damaged or truncated" in answer.err
    [new] = [folder for folder in Path("runs").iterdir() if folder.name != run.id]
    assert RunFolder.open(new).read_result()["status"] == "finished"
    assert {file.name: file.read_bytes() for file in run.path.iterdir()} == before
    assert f"Seed 2023 is already finished: run {new.name}" in train("--continue").err


def test_a_failure_among_several_runs_says_which_are_finished(train: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    real = TrainingLoop._step

    def poisoned(loop: TrainingLoop, batch: Any) -> Any:
        return real(loop, batch) | ({"bpr": torch.tensor(torch.nan)} if loop.settings.seed == 8 else {})

    monkeypatch.setattr(TrainingLoop, "_step", poisoned)
    answer = train("--runs", 3, "--seed", 7)
    first = next(Path("runs").glob("*-s7"))
    assert answer.code == 1 and "The loss term 'bpr' became nan in epoch 1" in answer.err.splitlines()[-1]
    assert answer.err.splitlines()[-2] == f"Run 2 of 3 (seed 8) failed; finished: seed 7 ({first.name})."


def test_a_full_disk_is_a_sentence_with_the_command_that_goes_on(
    cli: Cli, train: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = json.loads(train("--runs-dir", "whole", "--json").out)
    real, states = Path.write_bytes, []

    def full(path: Path, data: bytes) -> int:
        if ".state.pt" in path.name:
            states.append(path)
            if len(states) > 1:
                raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        answer = train()
    run = only_run()
    assert (answer.code, answer.out) == (1, "")
    said = f"Error: The disk is full: {run.path} cannot be written; free some space, then resume with: "
    command = shlex.split(answer.err.splitlines()[-1].removeprefix(said))
    assert command == ["mmssl", "train", "--resume", run.id]
    last = events(run)[-1]
    assert (last["event"], last["epoch"]) == ("failed", 2) and "the disk is full" in last["problem"]

    assert json.loads(cli(*command[1:], "--json").out)["mean"] == whole["mean"]


def test_a_line_of_the_log_is_whole_or_not_there(train: Cli) -> None:
    resource = pytest.importorskip("resource", reason="limits of a process are those of Unix")
    run = cut_off(train)
    before = (run.path / "log.jsonl").read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 5, limits[1]))
    try:
        with pytest.raises(Exception, match=r"Cannot write .*log\.jsonl"):
            run.append_log({"event": "more than five bytes"})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (run.path / "log.jsonl").read_bytes() == before


def test_a_run_goes_on_on_another_device(cli: Cli, train: Cli) -> None:
    run = cut_off(train, model="mmssl")
    state = run.read_state()  # as a CUDA GPU leaves it: its generators have 16 bytes
    run.write_state({**state, "sampler_random": torch.zeros(16, dtype=torch.uint8), "cuda_random": torch.zeros(16)})
    config = (run.path / "config.toml").read_text()
    (run.path / "config.toml").write_text(re.sub(r'(?m)^device = "cpu \(.*"$', 'device = "NVIDIA H100"', config))
    assert run.read_config()[1]["device"] == "NVIDIA H100"

    answer = cli("train", "--resume", "latest")

    assert answer.code == 0, answer.err
    assert (
        f"Run {run.id} was on another kind of device until epoch 1: on cpu it draws other random numbers" in answer.err
    )
    assert len(run.read_metrics()) == 2
    assert run.read_config()[1]["device"] == run.read_result()["device"] != "NVIDIA H100"
    assert not torch.equal(run.read_state()["sampler_random"], state["sampler_random"])


def test_a_resumed_run_keeps_when_it_was_started(cli: Cli, train: Cli) -> None:
    run = cut_off(train)
    _, before = run.read_config()
    answer = cli("train", "--resume", run.id)
    assert "another kind of device" not in answer.err
    assert run.read_config()[1] == before


def test_resuming_a_finished_run_says_that_it_is_finished(cli: Cli, train: Cli) -> None:
    trained = train()
    run = only_run()
    answer = cli("train", "--resume", "latest")
    assert answer.code == 0 and answer.out == trained.out
    assert answer.err == f"Run {run.id} is already finished (2 epochs); a larger --epochs trains it further.\n"


@pytest.mark.parametrize("damage", ["truncated", "missing", "other"])
def test_a_damaged_model_is_found_before_training_goes_on(cli: Cli, train: Cli, damage: str) -> None:
    run = cut_off(train)
    path = run.path / "model.safetensors"
    content = path.read_bytes()
    if damage == "other":
        run.save_model({"users": torch.zeros(2, 2)})
    else:
        path.unlink()
        if damage == "truncated":
            path.write_bytes(content[: len(content) // 2])
    before = {file.name: file.read_bytes() for file in run.path.iterdir()}

    answer = cli("train", "--resume", run.id)

    assert (answer.code, answer.out) == (1, "")
    assert "model.safetensors" in answer.err and "epoch 2" not in answer.err
    assert {file.name: file.read_bytes() for file in run.path.iterdir()} == before


def test_the_same_files_under_another_manifest_are_the_same_data(cli: Cli, train: Cli, tmp_path: Path) -> None:
    train()
    run = only_run()
    digest = run.read_config()[1]["manifest_digest"]
    write_toy(tmp_path / "data", written="by another version")
    assert cli("evaluate", run.id).code == 0
    assert cli("train", "--resume", run.id, "--epochs", 3).code == 0
    assert run.read_config()[1]["manifest_digest"] != digest

    write_toy(tmp_path / "data", held_out_seed=5)
    for refused in (cli("evaluate", run.id), cli("train", "--resume", run.id, "--epochs", 4)):
        assert refused.code == 1 and "trained on another preparation of data set 'toy'" in refused.err


def test_evaluation_of_a_run_that_is_not_over_says_so(cli: Cli, train: Cli) -> None:
    run = cut_off(train)
    metrics = run.read_metrics()
    with run.lock():
        running = cli("evaluate", run.id, "--split", "validation", "--json")
        recommended = cli("recommend", run.id, "--user", "u1", "--top", 1)
    line = f"Run {run.id} is still being trained; this is its best model so far.\n"
    assert (running.code, running.err) == (0, line)
    assert json.loads(running.out)["metrics"]["recall@5"] == metrics["validation/recall@5"].max()
    assert (recommended.code, recommended.err) == (0, line)
    over = f"Run {run.id} was interrupted; this is its best model so far.\n"
    assert cli("evaluate", run.id).err == over
    assert cli("-q", "evaluate", run.id).err == ""
    cli("train", "--resume", run.id)
    assert cli("evaluate", run.id).err == ""


def test_evaluation_before_the_first_validation_says_so(cli: Cli, train: Cli) -> None:
    run = cut_off(train, "--evaluate-every", 2)
    answer = cli("evaluate", run.id)
    assert answer.code == 1
    assert f"Run {run.id} has no model yet: none of its epochs has been validated." in answer.err


@pytest.mark.parametrize("command", ["evaluate", "recommend --user u1"])
def test_a_run_that_diverged_before_its_first_validation_says_so(cli: Cli, train: Cli, command: str) -> None:
    assert train("--lr", 1e30).code == 1
    name, *flags = command.split()
    answer = cli(name, "latest", *flags)
    said = f"Run {only_run().id} diverged in epoch 1 before any epoch was validated; train it again with a lower --lr."
    assert (answer.code, answer.out, answer.err) == (1, "", f"Error: {said}\n")


def test_memory_is_that_of_the_run_and_not_of_the_process(train: Cli) -> None:
    resource = pytest.importorskip("resource", reason="the peak memory of a process is read as on Unix")
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pytest.skip("this system does not let a process reset its peak memory")
    taken = np.ones(400 * 2**20, dtype=np.uint8)
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    del taken
    train()
    assert 0 < only_run().read_result()["peak_memory_bytes"] < largest - 200 * 2**20


def test_the_latest_run_is_the_one_begun_last_within_a_second_too(train: Cli) -> None:
    for seed in (9, 1):
        train("--epochs", 1, "--seed", seed)
    assert resolve_run("latest", Path("runs")).id.endswith("-s1")
