"""`mmssl train`: what reaches the trainer, what is refused before it, what is said on the way."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from mmssl_cli.commands.settings_flags import COMMON, bounds_of, settings_flags
from mmssl_cli.config import SETTINGS, TrainSettings, build_settings, merge_settings, settings_to_toml
from mmssl_cli.console.tables import metrics_table
from mmssl_cli.console.training import LiveReporter, PlainReporter, Reporter, clock, epoch_line, make_reporter
from mmssl_cli.console.verbosity import Verbosity
from mmssl_cli.training.trainer import RunResult
from tests.conftest import Answer

Run = Callable[..., Answer]
TEST = {f"{metric}@{k}": 0.1 for metric in ("recall", "precision", "ndcg") for k in (10, 20, 50)}


@dataclass
class FakeTrainer:
    """Stands in for the trainer: keeps what it was asked for and trains nothing."""

    trained: list[TrainSettings] = field(default_factory=list)
    resumed: list[tuple[Path, dict[str, Any]]] = field(default_factory=list)
    before: Callable[[TrainSettings], None] = lambda settings: None
    during: Callable[[TrainSettings], None] = lambda settings: None

    def train_run(self, settings: TrainSettings, data_dir: Path, runs_dir: Path, *, reporter: Reporter) -> Any:
        self.trained.append(settings)
        self.before(settings)
        reporter.start({"run": f"run-{settings.seed}", "epochs": 1, "variant": None, **settings.model_dump()})
        self.during(settings)
        return self._result(settings.seed, runs_dir / f"run-{settings.seed}")

    def resume_run(self, run_dir: Path, overrides: dict[str, Any], *, data_dir: Path, reporter: Reporter) -> Any:
        self.resumed.append((run_dir, overrides))
        return self._result(0, run_dir)

    def _result(self, seed: int, folder: Path) -> Any:
        score = 0.1 + 0.01 * len(self.trained)
        record = {"model": "mf", "variant": None, "dataset": "demo", "seed": seed, "test": dict.fromkeys(TEST, score)}
        return RunResult(folder, record)


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeTrainer:
    """The fake, and a data folder in which `demo` passes for prepared."""
    fake = FakeTrainer()
    monkeypatch.setattr("mmssl_cli.experiments.in_process.train_run", fake.train_run)
    monkeypatch.setattr("mmssl_cli.training.trainer.resume_run", fake.resume_run)
    (tmp_path / "data" / "demo").mkdir(parents=True)
    (tmp_path / "data" / "demo" / "manifest.json").touch()
    return fake


def _saved_run(folder: Path, **settings: Any) -> TrainSettings:
    saved = build_settings({"model": "lightgcn", **settings})
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(
        settings_to_toml(saved, {"manifest_digest": "", "started": ""}), encoding="utf-8"
    )
    return saved


def test_there_is_a_flag_for_every_setting_and_no_other() -> None:
    names = [flag.name for flag in settings_flags()]
    assert set(names) == {name for cls in SETTINGS.values() for name in cls.model_fields}
    assert len(names) == len(set(names))


@pytest.mark.parametrize("model", SETTINGS)
def test_help_with_a_model_has_its_own_descriptions_defaults_and_bounds(
    cli: Run, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", 400)
    answer = cli("train", "--model", model.upper(), "--help")
    lines = {line.split()[1]: line for line in answer.out.splitlines() if " --" in line}
    for name, info in SETTINGS[model].model_fields.items():
        own = name not in TrainSettings.model_fields
        line = lines.get("--" + name.replace("_", "-"), "")
        assert bool(line) == (own or name in COMMON)
        assert not line or (info.description or "") in line
        if line and isinstance(info.default, int | float) and not isinstance(info.default, bool):
            assert f"[default: {info.default}]" in line
        assert not own or all(f"{sign}{bound}" in line for sign, bound in bounds_of(info))
    others = {name for cls in SETTINGS.values() for name in cls.model_fields} - set(SETTINGS[model].model_fields)
    assert not {"--" + name.replace("_", "-") for name in others} & set(lines)
    if model == "mmssl":
        assert "<full|w/o-ASL|w/o-CL|w/o-GT|r/p-GAE>" in lines["--variant"]
    assert "[default: 10,20,50]" in lines["--ks"]


@pytest.mark.parametrize("command", ["train", "compare", "ablate", "tune"])
def test_help_without_a_model_is_short(cli: Run, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", 80)
    text = cli(command, "--help").out
    assert len(text.splitlines()) < (80 if command == "train" else 90)
    assert "--epochs" in text
    assert "--contrast-weight" not in text


def test_data_sets_and_models_in_any_case(cli: Run, trainer: FakeTrainer) -> None:
    for words in (("DEMO", "--model", "LightGCN"), ("--dataset", "Demo", "--model", "LIGHTGCN")):
        answer = cli("train", *words)
        assert answer.code == 0, answer.err
    assert [(one.dataset, one.model) for one in trainer.trained] == [("demo", "lightgcn")] * 2
    assert cli("models", "MF").out == cli("models", "mf").out
    answer = cli("train", "demo", "--dataset", "tiktok")
    assert (answer.code, answer.err) == (2, "Error: The data set is both demo and --dataset tiktok; keep one.\n")
    model = cli("train", "LightGCN", "--dataset", "demo")
    assert (model.code, model.err) == (
        2,
        "Error: NAME is the data set, and LightGCN is a model: give --model LightGCN.\n",
    )


def test_flags_reach_the_trainer_as_checked_settings(cli: Run, trainer: FakeTrainer) -> None:
    flags = [
        "--graph-topk",
        7,
        "--lr",
        "5e-4",
        "--ks",
        "5,20",
        "--modalities",
        "visual",
        "--variant",
        "w/o-GT",
    ]
    answer = cli("train", *flags)
    assert answer.code == 0, answer.err
    expected = {"graph_topk": 7, "lr": 5e-4, "ks": (5, 20), "modalities": ("visual",), "variant": "w/o-GT"}
    assert trainer.trained == [merge_settings({"model": "mmssl", "dataset": "demo", **expected})]


def test_a_file_is_weaker_than_flags(cli: Run, trainer: FakeTrainer, tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_text('model = "mf"\nlr = 0.5\nepochs = 7\n')
    assert cli("train", "--config", "my.toml", "--lr", "0.25").code == 0
    [settings] = trainer.trained
    assert (settings.model, settings.lr, settings.epochs) == ("mf", 0.25, 7)


def test_the_data_set_is_the_flag_else_the_file_else_the_environment_else_the_default(
    cli: Run, trainer: FakeTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("mine", "yours"):
        (tmp_path / "data" / name).mkdir()
        (tmp_path / "data" / name / "manifest.json").touch()
    (tmp_path / "my.toml").write_text('dataset = "mine"\n')
    cli("train")
    monkeypatch.setenv("MMSSL_DATASET", "yours")
    cli("train")
    cli("train", "--config", "my.toml")
    cli("train", "--config", "my.toml", "--dataset", "demo")
    assert [settings.dataset for settings in trainer.trained] == ["demo", "yours", "mine", "demo"]


def test_runs_are_seeds_in_a_row_and_their_mean_is_shown(cli: Run, trainer: FakeTrainer) -> None:
    answer = cli("train", "--model", "mf", "--seed", 5, "--runs", 3)
    assert [settings.seed for settings in trainer.trained] == [5, 6, 7]
    assert "seeds 5, 6, 7" in answer.out
    assert "0.1200 ± 0.0100" in answer.out
    assert answer.out.count("curves.svg") == 3


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--model", "lightgnc"], "did you mean lightgcn"),
        (["--variant", "w/o-GTT"], "did you mean w/o-GT"),
        (["--dataset", "tiktk"], "did you mean tiktok"),
        (["--lr", "fast"], "lr cannot be 'fast'"),
        (["--epochs", "-1"], "epochs cannot be '-1'"),
        (["--model", "mf", "--heads", "2"], "Model 'mf' has no setting 'heads'"),
        (["--seed", str(2**63 - 1), "--runs", "2"], "seed cannot be"),
        (["--resume", "x", "--runs", "2"], "leave out --runs"),
        (["--resume", "x", "--continue"], "leave out --runs and --continue"),
        (["--resume", "x"], "There is no run 'x'"),
    ],
)
def test_what_is_wrong_is_said_before_training(
    cli: Run, trainer: FakeTrainer, arguments: list[str], expected: str
) -> None:
    answer = cli("train", *arguments)
    assert answer.code == 2
    assert expected in answer.err
    assert "Traceback" not in answer.err


def test_a_wrong_file_of_settings_is_named(cli: Run, trainer: FakeTrainer, tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_text("grph-topk = 3\n")
    answer = cli("train", "--config", "my.toml")
    assert (answer.code, trainer.trained) == (2, [])
    assert "did you mean graph-topk" in answer.err and "my.toml" in answer.err
    assert cli("train", "--config", "none.toml").code == 1


def test_an_unprepared_data_set_comes_with_the_command_that_prepares_it(cli: Run, trainer: FakeTrainer) -> None:
    answer = cli("train", "--dataset", "tiktok", "--data-dir", "elsewhere")
    assert (answer.code, trainer.trained) == (1, [])
    assert "`mmssl prep tiktok --from PLACE --data-dir elsewhere` first." in answer.err


def test_resume_hands_over_what_may_change(cli: Run, trainer: FakeTrainer, tmp_path: Path) -> None:
    saved = _saved_run(tmp_path / "runs" / "run-1", epochs=3, lr=0.5)
    answer = cli("train", "--resume", "run-1", "--epochs", 9, "--lr", saved.lr, "--layers", 2)
    assert answer.code == 0, answer.err
    assert [overrides for _, overrides in trainer.resumed] == [{"epochs": 9}]


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--lr", "0.25"], "lr (0.5, not 0.25)"),
        (["--model", "mf"], "model (lightgcn, not mf)"),
        (["--layers", "3", "--seed", "1"], "layers (2, not 3)"),
        (["--dataset", "tiktok"], "dataset (demo, not tiktok)"),
    ],
)
def test_resume_with_other_settings_is_refused(
    cli: Run, trainer: FakeTrainer, tmp_path: Path, flags: list[str], expected: str
) -> None:
    _saved_run(tmp_path / "runs" / "run-1", lr=0.5)
    answer = cli("train", "--resume", "run-1", *flags)
    assert (answer.code, trainer.resumed) == (2, [])
    assert expected in answer.err and "only --epochs, --patience, --device, --cuda-graph may change" in answer.err


def _interrupt(seed: int) -> Callable[[TrainSettings], None]:
    """Press Ctrl-C at the run of this seed."""

    def interrupt(settings: TrainSettings) -> None:
        if settings.seed == seed:
            raise KeyboardInterrupt

    return interrupt


def test_an_interrupt_says_how_to_resume(cli: Run, trainer: FakeTrainer) -> None:
    trainer.during = _interrupt(5)
    answer = cli("-q", "train", "--seed", 5, "--runs-dir", "else where")
    assert answer.code == 130
    assert answer.err == "Interrupted. Resume with: mmssl train --resume run-5 --runs-dir 'else where'\n"


def test_an_interrupt_before_training_says_that_nothing_was_saved(cli: Run, trainer: FakeTrainer) -> None:
    trainer.before = _interrupt(5)
    for runs in (1, 3):
        answer = cli("-q", "train", "--seed", 5, "--runs", runs)
        assert (answer.code, answer.err) == (130, "Interrupted before training began; nothing was saved.\n")


@pytest.mark.parametrize("when", ["before", "during"])
def test_an_interrupt_of_several_runs_says_what_is_finished_and_how_to_go_on(
    cli: Run, trainer: FakeTrainer, when: str, tmp_path: Path
) -> None:
    setattr(trainer, when, _interrupt(7))
    (tmp_path / "my.toml").write_text("lr = 0.5\n")
    answer = cli(
        "-q", "train", "--config", "my.toml", "--seed", 5, "--runs", 4, "--model", "mf", "--data-dir", "./data"
    )
    assert answer.code == 130
    assert answer.err == (
        "Run 3 of 4 (seed 7) was interrupted; finished: seed 5 (run-5), seed 6 (run-6). Resume with: "
        "mmssl train --config my.toml --model mf --seed 5 --runs 4 --continue\n"
    )


def test_shipped_settings_that_override_defaults_are_said_in_a_line(
    cli: Run, trainer: FakeTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shipped" / "demo").mkdir(parents=True)
    (tmp_path / "shipped" / "demo" / "mf.toml").write_text("lr = 0.25\nks = [5, 20]\nepochs = 9\nbatch-size = 1024\n")
    monkeypatch.setattr("mmssl_cli.config.presets.SHIPPED", tmp_path / "shipped")
    (tmp_path / "my.toml").write_text("epochs = 3\n")

    def lines(*flags: object) -> list[str]:
        return [line for line in cli("train", "--model", "mf", *flags).err.splitlines() if "shipped" in line]

    assert lines() == ["Settings shipped for mf on demo: lr 0.25, ks 5,20, epochs 9."]
    assert lines("--lr", 0.5) == ["Settings shipped for mf on demo: ks 5,20, epochs 9."]
    assert lines("--config", "my.toml") == lines("-q") == lines("--model", "lightgcn") == []
    assert [settings.epochs for settings in trainer.trained] == [9, 9, 3, 9, 200]
    preset = cli("train", "--model", "mf", "--preset", "tuned", "--ks", "20", "--config", "my.toml").err
    assert "Preset tuned of mf: lr 0.25." in preset
    assert (trainer.trained[-1].epochs, trainer.trained[-1].lr) == (3, 0.25)


RECORD = {"epoch": 3, "seconds": 1.25, "lr": 1e-3, "loss/bpr": 0.5, "loss/total": 0.75, "eta_seconds": 125.0}
SCORES = {"validation/recall@20": 0.25, "validation/ndcg@20": 0.125, "validation/precision@10": 0.0625}
INFO = {
    "run": "r1",
    "model": "mf",
    "variant": None,
    "dataset": "demo",
    "modalities": None,
    "seed": 1,
    "device": "cpu",
    "epochs": 40,
    "parameters": 1000,
}
RESULT = {"status": "stopped", "epochs": 4, "best_epoch": 3, "validation": {"recall@20": 0.25}}


def _told(reporter: Reporter, console: Console) -> list[str]:
    reporter.stage("Loading PyTorch")
    reporter.start({**INFO, "select_on": "recall@20"})
    reporter.batch(3, 1, 12)
    reporter.epoch({**RECORD, **SCORES, "best": True})
    reporter.batch(4, 1, 12)
    reporter.epoch({**RECORD, "epoch": 4, "validation/recall@20": float("nan"), "eta_seconds": None})
    reporter.finish(RESULT)
    reporter.close()
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def _console(**options: Any) -> Console:
    return Console(file=io.StringIO(), width=200, **options)


def test_plain_progress_is_a_line_an_epoch() -> None:
    console = _console()
    assert _told(PlainReporter(console), console) == [
        "Training mf on demo, seed 1, cpu, 1,000 parameters: run r1",
        "`best` marks the highest validation recall@20 so far.",
        "epoch  3/40  loss 0.7500  recall@20 0.2500  ndcg@20 0.1250  1.2 s  best",
        "epoch  4/40  loss 0.7500  1.2 s",
        "Stopped early after 4 epochs; best epoch 3 (validation recall@20 0.2500).",
    ]


def test_verbose_progress_has_every_term_and_metric() -> None:
    console = _console()
    assert _told(PlainReporter(console, verbose=True), console)[2] == (
        "epoch  3/40  loss bpr 0.5000 total 0.7500  recall@20 0.2500  ndcg@20 0.1250  precision@10 0.0625  1.2 s"
        "  2:05 left  best"
    )


@pytest.mark.parametrize(("loss", "shown"), [(0.123456, "0.1235"), (123.4567, "123.46")])
def test_a_line_of_a_long_training_fits_79_columns(loss: float, shown: str) -> None:
    record = {"epoch": 1000, "seconds": 1234.5, "loss/bpr": 0.1, "loss/total": loss, "best": True}
    scores = {"validation/precision@20": 0.25, "validation/ndcg@20": 0.125, "validation/recall@50": 0.5}
    line = epoch_line({**record, **scores}, {"epochs": 1000, "select_on": "precision@20"})
    assert line == f"epoch 1000/1000  loss {shown}  precision@20 0.2500  ndcg@20 0.1250  1234 s  best"
    assert len(line) <= 79


def test_live_progress_has_the_same_lines_and_a_bar() -> None:
    console = _console(force_terminal=True, color_system=None)
    text = "\n".join(_told(LiveReporter(console), console))
    assert "Loading PyTorch" in text
    assert "epoch  3/40  loss 0.7500" in text
    assert "1/12, best 0.2500 (epoch 3), " in text
    assert "\x1b[?25h" in text  # the cursor is back


def test_quiet_progress_is_silent() -> None:
    console = _console()
    assert _told(make_reporter(Verbosity.QUIET, console), console) == []


def test_the_reporter_fits_what_it_writes_to() -> None:
    assert type(make_reporter(Verbosity.NORMAL, _console())) is PlainReporter
    assert type(make_reporter(Verbosity.NORMAL, _console(force_terminal=True))) is LiveReporter


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (3725, "1:02:05"), (-1, "0:00")])
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_the_table_has_a_row_for_each_k() -> None:
    console = _console()
    console.print(metrics_table([{**TEST, "ndcg@50": 0.5}], "Test"))
    assert isinstance(console.file, io.StringIO)
    rows = [line.split() for line in console.file.getvalue().splitlines()]
    assert rows[1:] == [
        ["K", "Recall", "Precision", "NDCG"],
        ["10", "0.1000", "0.1000", "0.1000"],
        ["20", "0.1000", "0.1000", "0.1000"],
        ["50", "0.1000", "0.1000", "0.5000"],
    ]
