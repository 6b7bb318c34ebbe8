"""`--wandb` and `--mlflow`: what the programs receive, with stand-ins for both, and with themselves where installed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from mmssl_cli.console.loggers.reporter import LOGGERS
from mmssl_cli.runs.folder import RunFolder
from pipelines.sources import demo
from tests.conftest import Answer

Cli = Callable[..., Answer]


class Store:
    """Keeps what a logger wrote: run id -> its settings, step -> numbers, and how it ended."""

    def __init__(self) -> None:
        self.settings: dict[str, dict[str, Any]] = {}
        self.steps: dict[str, dict[int, dict[str, float]]] = {}
        self.ends: dict[str, Any] = {}
        self.summary: dict[str, float] = {}
        self.broken = False

    def begin(self, run: str, settings: dict[str, Any]) -> None:
        self.settings.setdefault(run, settings)
        self.steps.setdefault(run, {})

    def write(self, run: str, step: int, values: dict[str, float]) -> None:
        if self.broken:
            raise ValueError("the server is away")
        self.steps[run].setdefault(step, {}).update(values)


def fake_wandb(store: Store, monkeypatch: pytest.MonkeyPatch, mode: str = "offline") -> None:
    wandb: Any = ModuleType("wandb")
    wandb.Error = RuntimeError
    wandb.Settings = lambda **given: given
    wandb.setup = lambda: SimpleNamespace(settings=SimpleNamespace(mode=mode))
    wandb.login = lambda: False

    def init(*, id: str, dir: str, config: dict[str, Any], **given: Any) -> SimpleNamespace:
        assert (given["project"], given["resume"]) == ("mmssl", "allow")
        Path(dir, "wandb").mkdir(exist_ok=True)
        store.begin(id, config)
        return SimpleNamespace(
            log=lambda values, step: store.write(id, step, values),
            summary=store.summary,
            finish=lambda exit_code=0: store.ends.update({id: exit_code}),
        )

    wandb.init = init
    monkeypatch.setitem(sys.modules, "wandb", wandb)


def fake_mlflow(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    class Client:
        def __init__(self, tracking_uri: str) -> None:
            assert tracking_uri.endswith("/mlruns")

        def get_experiment_by_name(self, name: str) -> None:
            assert name == "mmssl"

        def create_experiment(self, name: str) -> str:
            return "1"

        def search_runs(self, experiments: list[str], text: str) -> list[SimpleNamespace]:
            known = [run for run in store.steps if text == f"tags.`mmssl.run` = '{run}'"]
            return [SimpleNamespace(info=SimpleNamespace(run_id=run)) for run in known]

        def create_run(self, experiment: str, run_name: str, tags: dict[str, str]) -> SimpleNamespace:
            store.begin(tags["mmssl.run"], {})
            return SimpleNamespace(info=SimpleNamespace(run_id=run_name))

        def update_run(self, run: str, status: str) -> None:
            assert status == "RUNNING"

        def log_param(self, run: str, name: str, value: Any) -> None:
            store.settings[run][name] = value

        def log_metric(self, run: str, name: str, value: float, step: int) -> None:
            assert "@" not in name
            into = store.summary if name.startswith("test/") else None
            name = name.replace("_at_", "@")
            into.update({name: value}) if into is not None else store.write(run, step, {name: value})

        def set_terminated(self, run: str, status: str) -> None:
            store.ends[run] = 0 if status == "FINISHED" else 1

    module: Any = ModuleType("mlflow")
    module.MlflowClient = Client
    problems: Any = ModuleType("mlflow.exceptions")
    problems.MlflowException = RuntimeError
    monkeypatch.setitem(sys.modules, "mlflow", module)
    monkeypatch.setitem(sys.modules, "mlflow.exceptions", problems)


@pytest.fixture
def small_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    generate = demo.generate_shop
    monkeypatch.setattr(demo, "generate_shop", lambda seed: generate(seed, num_users=40, num_items=60))
    monkeypatch.setattr("mmssl_cli.runs.figures.plot_curves", lambda *given, **named: None)
    for name in ("WANDB_MODE", "WANDB_PROJECT", "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")


@pytest.fixture(params=["wandb", "mlflow"])
def logger(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, small_demo: None) -> tuple[str, Store]:
    store = Store()
    {"wandb": fake_wandb, "mlflow": fake_mlflow}[request.param](store, monkeypatch)
    return f"--{request.param}", store


def numbers(run: RunFolder) -> dict[int, dict[str, float]]:
    """Return epoch -> the numbers measured in it."""
    records = run.read_metrics().set_index("epoch").to_dict("index")
    return {int(epoch): {k: v for k, v in record.items() if v == v} for epoch, record in records.items()}


TRAIN = ("train", "demo", "--model", "mf", "--evaluate-every", 2)


@pytest.mark.parametrize("from_the_start", [True, False])
def test_every_number_of_every_epoch_is_logged(
    cli: Cli, tmp_path: Path, logger: tuple[str, Store], from_the_start: bool
) -> None:
    flag, store = logger
    assert cli(*TRAIN, "--epochs", 2, *([flag] if from_the_start else [])).code == 0
    answer = cli("train", "--resume", "latest", "--epochs", 4, flag)
    assert answer.code == 0, answer.err
    (run,) = map(RunFolder, (tmp_path / "runs").iterdir())
    assert store.steps == {run.id: numbers(run)}
    assert store.settings[run.id]["model"] == "mf"
    assert store.ends == {run.id: 0}
    test = run.read_result()["test"]
    assert {name: store.summary[f"test/{name}"] for name in test} == test


def test_a_logger_that_fails_ends_no_training(cli: Cli, tmp_path: Path, logger: tuple[str, Store]) -> None:
    flag, store = logger
    store.broken = True
    answer = cli(*TRAIN, "--epochs", 2, flag)
    assert answer.code == 0
    assert answer.err.count(f"{flag} failed, and logs no more of this run: the server is away") == 1
    (run,) = map(RunFolder, (tmp_path / "runs").iterdir())
    assert run.read_result()["status"] == "finished"


@pytest.mark.parametrize("name", LOGGERS)
@pytest.mark.parametrize("command", [("train", "demo"), ("compare", "mf", "pop")])
def test_without_the_package_nothing_is_trained(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_demo: None, command: tuple[str, ...], name: str
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard" if name == "tensorboard" else name, None)
    answer = cli(*command, f"--{name}")
    assert answer.code == 2
    assert f"which is not installed; get it with: pip install 'mmssl[{name}]'" in answer.words
    assert not (tmp_path / "runs").exists()


def test_wandb_without_a_key_is_refused(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_demo: None
) -> None:
    fake_wandb(Store(), monkeypatch, mode="online")
    answer = cli("train", "--wandb")
    assert answer.err == "Error: --wandb needs an API key; log in with `wandb login`, or set WANDB_MODE=offline.\n"
    assert (answer.code, list(tmp_path.iterdir())) == (2, [])


def test_mlflow_itself(cli: Cli, tmp_path: Path, small_demo: None) -> None:
    mlflow = pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    answer = cli(*TRAIN, "--epochs", 2, "--mlflow")
    assert answer.code == 0, answer.err
    (run,) = map(RunFolder, (tmp_path / "runs").iterdir())
    client = mlflow.MlflowClient(tracking_uri=(tmp_path / "mlruns").as_uri())
    experiment = client.get_experiment_by_name("mmssl").experiment_id
    (found,) = client.search_runs([experiment])
    assert (found.info.status, found.info.run_name, found.data.params["model"]) == ("FINISHED", run.id, "mf")
    history = client.get_metric_history(found.info.run_id, "loss/total")
    assert {each.step: each.value for each in history} == {
        epoch: record["loss/total"] for epoch, record in numbers(run).items()
    }
    assert found.data.metrics["test/recall_at_20"] == run.read_result()["test"]["recall@20"]


def test_wandb_itself(cli: Cli, tmp_path: Path, small_demo: None, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", reason="the extra wandb is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    answer = cli(*TRAIN, "--epochs", 2, "--wandb")
    assert answer.code == 0, answer.err
    (run,) = map(RunFolder, (tmp_path / "runs").iterdir())
    (kept,) = (run.path / "wandb").glob(f"offline-run-*/run-{run.id}.wandb")
    content = kept.read_bytes()
    assert all(name.encode() in content for name in ("loss/total", "validation/recall@20", "test/recall@20"))
