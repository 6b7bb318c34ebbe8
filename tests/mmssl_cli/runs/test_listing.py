"""The folder of a run: names, locks, listings, and files that come whole or not at all."""

from __future__ import annotations

import errno
import os
import pickle
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from mmssl_cli.runs.folder import RunFolder, new_run_id
from mmssl_cli.runs.listing import list_runs, resolve_run
from pipelines.errors import InputError, MmsslError, UsageError
from tests.conftest import ROOT

RESULT: dict[str, Any] = {
    "status": "finished",
    "model": "mf",
    "dataset": "demo",
    "seed": 3,
    "epochs": 4,
    "best_epoch": 2,
    "seconds_per_epoch": 0.5,
    "validation": {"recall@20": 0.25},
    "test": {"recall@20": 0.2, "ndcg@20": 0.1},
}


def _config(started: str = "2026-11-23T10:55:01+00:00", model: str = "mf") -> str:
    settings = f'model = "{model}"\ndataset = "demo"\nseed = 3\nbatch-size = 64\nselect-on = "recall@20"\n'
    return f'{settings}\n[provenance]\nmanifest_digest = "abc"\nstarted = "{started}"\n'


def _run(runs_dir: Path, run_id: str = "a", **config: str) -> RunFolder:
    return RunFolder.create(runs_dir, run_id, _config(**config))


def test_an_id_names_start_data_set_model_and_seed() -> None:
    started = datetime(2026, 11, 23, 10, 55, 1)
    assert new_run_id("tiktok", "mmssl", 2023, started) == "20261123-105501-tiktok-mmssl-s2023"
    assert "/" not in new_run_id("../x y", "mf", 0, started)


def test_an_id_that_is_taken_gets_a_number(tmp_path: Path) -> None:
    assert [_run(tmp_path / "runs").id for _ in range(3)] == ["a", "a-2", "a-3"]


@pytest.mark.parametrize("run_id", ["", "../x", "a/b", ".a", "latest"])
def test_an_id_that_is_no_plain_name_is_refused(tmp_path: Path, run_id: str) -> None:
    with pytest.raises(UsageError, match="cannot be called"):
        RunFolder.create(tmp_path / "runs", run_id, _config())
    assert not (tmp_path / "runs").exists()


def test_a_runs_folder_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file in the way")
    with pytest.raises(InputError, match=r"Cannot write .*runs"):
        _run(tmp_path / "runs")


def test_everything_comes_back_as_it_was_written(tmp_path: Path) -> None:
    run = _run(tmp_path)
    metrics = pd.DataFrame({"epoch": [1, 2], "seconds": [0.5, 0.25], "validation/recall@20": [None, 0.5]})
    per_user = pd.DataFrame(
        {"user": [0, 2], "train_degree": [1, 3], "recall@20": [0.0, 1.0], "similarity@20": [-0.5, -1.0]}
    ).astype({"user": "int32", "train_degree": "int32"})
    weights = {"users": torch.randn(3, 2), "items": torch.randn(2, 3).T, "steps": torch.tensor(7)}
    state = {"epoch": 2, "optimizer": {"lr": 0.1, "state": [torch.ones(2)]}, "random": torch.get_rng_state()}
    run.write_metrics(metrics)
    run.write_per_user(per_user)
    run.write_result(RESULT)
    run.save_model(weights)
    run.write_state(state)

    again = RunFolder.open(tmp_path / "a")
    pd.testing.assert_frame_equal(again.read_metrics(), metrics.astype({"validation/recall@20": float}))
    pd.testing.assert_frame_equal(again.read_per_user(), per_user)
    assert again.read_result() == RESULT
    assert all(torch.equal(again.load_model()[name], weights[name]) for name in weights)
    restored = again.read_state()
    assert torch.equal(restored["random"], state["random"])
    assert restored["optimizer"]["state"][0].tolist() == [1.0, 1.0]
    settings, provenance = again.read_config()
    assert (settings["batch_size"], provenance["started"][:4]) == (64, "2026")
    assert again.settings().seed == 3
    assert not [path for path in run.path.iterdir() if path.name.startswith(".")]


def test_the_log_grows_by_a_line_a_record(tmp_path: Path) -> None:
    run = _run(tmp_path)
    run.append_log({"event": "start", "what": "é"})
    run.append_log({"event": "end"})
    assert (run.path / "log.jsonl").read_text().splitlines() == [
        '{"event": "start", "what": "é"}',
        '{"event": "end"}',
    ]


_READERS = {
    "metrics.parquet": RunFolder.read_metrics,
    "per_user.parquet": RunFolder.read_per_user,
    "result.json": RunFolder.read_result,
    "model.safetensors": RunFolder.load_model,
    "state.pt": RunFolder.read_state,
}


def _filled(tmp_path: Path) -> RunFolder:
    run = _run(tmp_path)
    run.write_metrics([{"epoch": 1, "seconds": 0.5, "loss/bpr": 0.7}])
    run.write_per_user(pd.DataFrame({"user": [0], "train_degree": [1], "recall@20": [1.0]}))
    run.write_result(RESULT)
    run.save_model({"users": torch.randn(50, 8)})
    run.write_state({"epoch": 1, "users": torch.randn(50, 8)})
    return run


@pytest.mark.parametrize("name", _READERS)
@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "garbage"])
def test_a_damaged_file_is_a_sentence_that_names_it(tmp_path: Path, name: str, damage: str) -> None:
    run = _filled(tmp_path)
    path = run.path / name
    _READERS[name](run)
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes({"empty": b"", "truncated": content[: len(content) // 2], "garbage": b"\x80\xff" * 99}[damage])

    with pytest.raises(InputError, match=name):
        _READERS[name](run)


@pytest.mark.parametrize(
    "change",
    [
        *({"status": 3}, {"epochs": "4"}, {"test": {"recall@20": "high"}}, {"validation": None}, {"model": ...}),
        *({"epochs": -1}, {"seed": 2**70}, {"test": {"recall": 0.1}}, {"test": {"recall@20": 2.0}}, {"best_epoch": []}),
        *({"validation": {"recall@20": float("nan")}}, {"seconds_per_epoch": [1]}, {"seconds_to_best": float("inf")}),
        *({"peak_memory_bytes": "much"}, {"parameters": [3]}, {"device": 3}, {"modalities": "ab"}, {"variant": {}}),
    ],
)
def test_a_result_of_another_shape_is_damaged(tmp_path: Path, change: dict[str, Any]) -> None:
    run = _run(tmp_path)
    run.write_result({key: value for key, value in {**RESULT, **change}.items() if value is not ...})
    with pytest.raises(InputError, match=next(iter(change))):
        run.read_result()


@pytest.mark.parametrize(
    ("table", "what"),
    [
        (pd.DataFrame({"epoch": [2, 1], "seconds": 1.0}), "not in order"),
        (pd.DataFrame({"epoch": [1, 1], "seconds": 1.0}), "not in order"),
        (pd.DataFrame({"epoch": np.array([2, 1], "uint8"), "seconds": 1.0}), "not in order"),
        (pd.DataFrame({"epoch": [1]}), "no column seconds"),
        (pd.DataFrame({"epoch": [1], "seconds": ["soon"]}), "does not hold numbers"),
        (pd.DataFrame({"epoch": [1], "seconds": [float("nan")]}), "no possible time"),
        (pd.DataFrame({"epoch": [1], "seconds": [-1.0]}), "no possible time"),
    ],
)
def test_metrics_that_make_no_sense_are_damaged(tmp_path: Path, table: pd.DataFrame, what: str) -> None:
    run = _run(tmp_path)
    run.write_metrics(table)
    with pytest.raises(InputError, match=what):
        run.read_metrics()


@pytest.mark.parametrize(
    ("config", "what"),
    [
        ("model = ", "not valid TOML"),
        (_config().replace("dataset", "data"), "lacks model, data set or provenance"),
        ('model = "mf"\ndataset = "demo"\nprovenance = 3\n', "damaged"),
        (_config().replace("seed", "heads"), "no setting 'heads'"),
        (_config(model="other"), "no model 'other'"),
    ],
)
def test_a_config_that_describes_no_run_is_a_sentence(tmp_path: Path, config: str, what: str) -> None:
    run = RunFolder.create(tmp_path, "a", config)
    with pytest.raises(InputError, match=what):
        run.settings()


def test_a_config_cut_between_two_lines_is_damaged(tmp_path: Path) -> None:
    run = _run(tmp_path)
    lines = (run.path / "config.toml").read_text().splitlines(keepends=True)
    for kept in range(len(lines)):
        (run.path / "config.toml").write_text("".join(lines[:kept]))
        with pytest.raises(InputError, match=r"config\.toml is damaged or truncated"):
            run.read_config()
        assert list_runs(tmp_path)[0].status == "damaged"


class _Bomb:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, ("touch exploded",)


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = _run(tmp_path)
    torch.save({"epoch": _Bomb()}, run.path / "state.pt")
    with pytest.raises(InputError, match=r"state\.pt"):
        run.read_state()
    (run.path / "state.pt").write_bytes(pickle.dumps(_Bomb()))
    with pytest.raises(InputError, match=r"state\.pt"):
        run.read_state()
    assert not (tmp_path / "exploded").exists()


def test_a_full_disk_leaves_the_file_that_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = _filled(tmp_path)
    before = {path.name: path.read_bytes() for path in run.path.iterdir()}

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    writes = [
        lambda: run.write_metrics([{"epoch": 1, "seconds": 9.0}]),
        lambda: run.write_result({}),
        lambda: run.save_model({"users": torch.zeros(1)}),
        lambda: run.write_state({"epoch": 9}),
        lambda: run.write_config("x = 1"),
    ]
    for write in writes:
        with pytest.raises(InputError, match="the disk is full"):
            write()
    with pytest.raises(InputError, match="the disk is full"):
        _run(tmp_path, "b")
    monkeypatch.undo()
    assert {path.name: path.read_bytes() for path in run.path.iterdir()} == before
    assert not (tmp_path / "b").exists()


_HOLD = """
import sys
from pathlib import Path
from mmssl_cli.runs.folder import RunFolder
from tests.conftest import ROOT
with RunFolder(Path(sys.argv[1])).lock():
    print("held", flush=True)
    sys.stdin.read()
"""


def _holder(run: RunFolder) -> subprocess.Popen[str]:
    child = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(run.path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    return child


def test_a_second_process_cannot_write_a_run_until_the_first_dies(tmp_path: Path) -> None:
    run = _run(tmp_path)
    with _holder(run) as child:
        try:
            with (
                pytest.raises(MmsslError, match=f"Run a is being written by process {child.pid};"),
                run.lock(),
            ):
                pytest.fail("the lock was given twice")
            assert run.is_locked()
            assert list_runs(tmp_path)[0].status == "running"
        finally:
            child.send_signal(signal.SIGKILL)
    assert not run.is_locked()
    with run.lock():
        assert (run.path / "lock").read_text() == f" {os.getpid()}\n"
    assert (run.path / "lock").read_text() == ""


def test_the_lock_is_let_go_when_the_work_fails(tmp_path: Path) -> None:
    run = _run(tmp_path)
    with pytest.raises(KeyError), run.lock():
        raise KeyError("work")
    with run.lock():
        pass


def test_runs_are_listed_newest_first_with_what_is_known_of_each(tmp_path: Path) -> None:
    finished = _run(tmp_path, "z-first", started="2026-11-20T10:00:00")
    finished.write_result(RESULT)
    cut_off = _run(tmp_path, "a-second", started="2026-11-21T10:00:00", model="lightgcn")
    cut_off.write_metrics([{"epoch": 1, "seconds": 0.5}, {"epoch": 2, "seconds": 0.75}])
    torn = _run(tmp_path, "m-third", started="2099-01-01T00:00:00")
    (torn.path / "result.json").write_text('{"status": "fini')
    (tmp_path / "plots").mkdir()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "notes.txt").write_text("")

    listed = {run.id: run for run in list_runs(tmp_path)}

    assert list(listed) == ["m-third", "a-second", "z-first"]
    first, second, third = listed["z-first"], listed["a-second"], listed["m-third"]
    assert (first.status, first.seed, first.epochs, first.seconds) == ("finished", 3, 4, 2.0)
    assert (first.validation, first.test) == (RESULT["validation"], RESULT["test"])
    assert (second.status, second.model, second.epochs, second.seconds) == (
        "interrupted",
        "lightgcn",
        2,
        1.25,
    )
    assert third.status == "damaged"
    assert "result.json is damaged" in third.problem


def test_the_best_epoch_so_far_is_the_first_of_equals_among_those_validated(tmp_path: Path) -> None:
    nan = float("nan")
    run, early = _run(tmp_path, "run"), _run(tmp_path, "early")
    scores = {"validation/recall@20": [nan, 0.2, nan, 0.3, 0.3], "validation/ndcg@20": [nan, 0.9, nan, 0.4, 0.5]}
    run.write_metrics(pd.DataFrame({"epoch": range(1, 6), "seconds": 1.0, **scores}))
    early.write_metrics(pd.DataFrame({"epoch": [1], "seconds": 1.0, "validation/recall@20": [nan]}))
    listed = {found.id: found.validation for found in list_runs(tmp_path)}
    assert listed == {"run": {"recall@20": 0.3, "ndcg@20": 0.4}, "early": {}}


def test_runs_that_are_not_over_are_listed_without_pandas(tmp_path: Path) -> None:
    _run(tmp_path).write_metrics([{"epoch": 1, "seconds": 0.5, "validation/recall@20": 0.1}])
    script = (
        "import sys; from pathlib import Path; from mmssl_cli.runs.listing import list_runs\n"
        f"[run] = list_runs(Path({str(tmp_path)!r})); print(run.validation, 'pandas' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "{'recall@20': 0.1} False\n"


def test_no_folder_holds_no_runs(tmp_path: Path) -> None:
    assert list_runs(tmp_path / "nowhere") == []


def test_a_run_is_found_by_id_prefix_path_or_as_the_latest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = tmp_path / "runs"
    _run(runs, "2026-demo-mf", started="2026-11-22T00:00:00")
    _run(runs, "2026-demo-mf-2", started="2026-11-23T00:00:00")
    _run(runs, "2025-tiktok", started="2025-01-01T00:00:00")
    assert resolve_run("2026-demo-mf", runs).id == "2026-demo-mf"
    assert resolve_run("2026-demo-mf-", runs).id == "2026-demo-mf-2"
    assert resolve_run("2025", runs).id == "2025-tiktok"
    assert resolve_run("latest", runs).id == "2026-demo-mf-2"
    assert resolve_run(str(runs / "2025-tiktok"), tmp_path / "elsewhere").id == "2025-tiktok"
    monkeypatch.chdir(runs)
    assert resolve_run("2025-tiktok", tmp_path / "elsewhere").id == "2025-tiktok"
    assert resolve_run("./2025-tiktok", tmp_path / "elsewhere").id == "2025-tiktok"

    with pytest.raises(UsageError, match="matches 2 runs: 2026-demo-mf, 2026-demo-mf-2;"):
        resolve_run("2026", runs)
    with pytest.raises(UsageError, match="did you mean 2025-tiktok"):
        resolve_run("2025-tiktik", runs)


def test_a_long_list_of_ids_is_cut_short(tmp_path: Path) -> None:
    for number in range(7):
        _run(tmp_path, f"run-{number}")
    with pytest.raises(
        UsageError, match="matches 7 runs: run-0, run-1, run-2, run-3, run-4 and 2 more; use a longer prefix"
    ):
        resolve_run("run", tmp_path)
    with pytest.raises(UsageError, match="there are 7 runs, such as run-6, run-5, run-4"):
        resolve_run("2026", tmp_path)


def test_a_latest_run_that_is_damaged_is_not_passed_over(tmp_path: Path) -> None:
    _run(tmp_path, "a")
    damaged = _run(tmp_path, "b").path
    (damaged / "config.toml").write_text("x = ")
    later = time.time() + 60
    os.utime(damaged, (later, later))
    sentence = r"The latest run, b, is damaged: .*Name another run, or remove this one with `mmssl runs rm b --runs-dir"
    with pytest.raises(InputError, match=sentence):
        resolve_run("latest", tmp_path)


def test_a_file_is_no_folder_of_runs(tmp_path: Path) -> None:
    (tmp_path / "runs").touch()
    with pytest.raises(InputError, match="runs is a file; expected the folder of the runs as --runs-dir"):
        list_runs(tmp_path / "runs")


@pytest.mark.parametrize("argument", ["latest", "x", ""])
def test_where_there_are_no_runs_the_answer_says_so(tmp_path: Path, argument: str) -> None:
    with pytest.raises(UsageError, match="holds no runs"):
        resolve_run(argument, tmp_path)


def test_a_folder_that_is_no_run_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is not a run: it holds no config\.toml"):
        resolve_run(str(tmp_path), tmp_path)
    with pytest.raises(InputError, match="There is no run folder"):
        resolve_run(str(tmp_path / "x"), tmp_path)
