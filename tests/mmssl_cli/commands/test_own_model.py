"""A model of one's own: from the template, written by a newcomer, wrong in many ways, and named by a foreign run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pandas as pd
import pytest

from mmssl_cli.config import own_models, own_names
from tests.conftest import ROOT, Answer

Cli = Callable[..., Answer]

#: As someone would write it who has read one page: NumPy, no settings, no sparse matrices.
NEWCOMER = """
import numpy as np
import torch
from mmssl_cli.models.base import Recommender


class ItemKNN(Recommender):
    def fit(self, data):
        ratings = np.zeros((data.num_users, data.num_items), dtype=np.float32)
        ratings[data.train.row_of_each(), data.train.indices] = 1
        both = ratings.T @ ratings
        norms = np.sqrt(np.outer(both.diagonal(), both.diagonal())) + 1e-9
        similar = both / norms
        np.fill_diagonal(similar, 0)
        self.scores = torch.from_numpy(ratings @ similar)

    def score(self, users):
        return self.scores[users]
"""
TRAINED = """
import torch
from pydantic import Field
from torch import nn
from mmssl_cli.config import TrainSettings
from mmssl_cli.models.base import Recommender
from mmssl_cli.models.losses import bpr_loss


class BiasSettings(TrainSettings):
    lr: float = 0.01
    scale: float = Field(1.0, ge=0, description="Factor on the biases.")


class Biased(Recommender):
    settings: BiasSettings

    def __init__(self, data, settings):
        super().__init__(data, settings)
        self.users = nn.Parameter(torch.randn(data.num_users, 8) / 10)
        self.items = nn.Parameter(torch.randn(data.num_items, 8) / 10)
        self.bias = nn.Parameter(torch.zeros(data.num_items))

    def score(self, users):
        return self.users[users] @ self.items.T + self.settings.scale * self.bias

    def training_step(self, batch):
        u, p, n = self.users[batch.users], batch.positives, batch.negatives
        gain = (u * (self.items[p] - self.items[n])).sum(1) + self.settings.scale * (self.bias[p] - self.bias[n])
        return {"bpr": -nn.functional.logsigmoid(gain).mean()}
"""


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Forget the modules of a test after it, and the folder they were in."""
    path = list(sys.path)
    modules = set(sys.modules)
    monkeypatch.setenv(own_names.VARIABLE, "")
    monkeypatch.setattr("mmssl_cli.console.errors.OWN_MODULES", own := set[str]())
    monkeypatch.setattr("mmssl_cli.config.own_models.OWN_MODULES", own)
    monkeypatch.setattr("mmssl_cli.app.OWN_MODULES", own)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.startswith("my_") or name == "shop_models":
            del sys.modules[name]


def _forget(module: str) -> None:
    """Be another process, in which nobody has named the model."""
    os.environ[own_names.VARIABLE] = ""
    del sys.modules[module]


@pytest.mark.usefixtures("inline_runs")
def test_the_template_trains_evaluates_recommends_and_stands_in_a_comparison(cli: Cli, demo: Path) -> None:
    place = ("--data-dir", demo.parent)
    assert cli("models", "--template", "my_first.py").code == 0
    assert cli("models", "--template", "my_first.py").code == 2  # it exists

    trained = cli("train", "--model", "my_first:MyModel", "--shrinkage", "3", *place, "--json")
    assert trained.code == 0, trained.err
    [run] = json.loads(trained.out)["runs"]
    assert run["test"]["recall@20"] > 0.05
    [config] = Path("runs").glob("*/config.toml")
    assert "shrinkage = 3.0" in config.read_text()

    _forget("my_first")
    refused = cli("evaluate", "latest", *place)
    assert refused.code != 0
    assert "is code outside of mmssl" in refused.words and "--import my_first:MyModel" in refused.words
    assert "my_first" not in sys.modules
    found = cli("--import", "my_first:MyModel", "evaluate", "latest", *place, "--json")
    assert json.loads(found.out)["metrics"]["recall@20"] == pytest.approx(run["test"]["recall@20"])

    answer = cli("--import", "my_first:MyModel", "recommend", "latest", "--all", "--out", "all.csv", *place)
    assert answer.code == 0, answer.err
    assert len(pd.read_csv("all.csv")) == 600 * 20
    new = cli("--import", "my_first:MyModel", "recommend", "latest", "--like", "item-0003", *place, "--json")
    assert len(json.loads(new.out)[0]["items"]) == 20
    compared = cli("compare", "--models", "my_first:MyModel,pop", "--shrinkage", "3", *place)
    assert compared.code == 0, compared.err
    assert "my_first:MyModel" in compared.out
    listed = cli("models", "my_first:MyModel", "--json")
    assert "shrinkage" in {row["setting"] for row in json.loads(listed.out)}


def test_a_model_as_a_newcomer_writes_it_and_one_that_is_trained(cli: Cli, demo: Path) -> None:
    place = ("--data-dir", demo.parent)
    Path("my_knn.py").write_text(NEWCOMER)
    Path("my_bias.py").write_text(TRAINED)
    assert cli("train", "--model", "my_knn:ItemKNN", *place).code == 0
    assert cli("--import", "my_knn:ItemKNN", "recommend", "latest", "--user", "user-0007", *place).code == 0
    names = "my_knn:ItemKNN,my_bias:Biased"
    compared = cli("compare", "--models", names, "--epochs", "2", "--scale", "0.5", *place)
    assert compared.code == 0, compared.err
    assert "my_bias:Biased" in compared.out and "my_knn:ItemKNN" in compared.out
    for name in ("my_bias", "my_knn"):
        _forget(name)
    listed = cli("runs")
    assert listed.code == 0
    assert "my_bias:Biased" in listed.words


def test_an_import_that_is_no_model_is_refused(cli: Cli) -> None:
    for name, wrong in (("my_model",) * 2, ("my-model:M",) * 2, ("a:A,b", "b"), (":M",) * 2):
        answer = cli("--import", name, "runs")
        assert answer.code == 2 and f"--import cannot be {wrong!r}: expected MODULE:CLASS" in answer.words


def test_runs_of_code_that_has_changed_do_not_count(cli: Cli, demo: Path) -> None:
    place = ("--data-dir", demo.parent)
    name, compare = "my_knn:ItemKNN", ("compare", "--models", "my_knn:ItemKNN", "--dataset", "demo", "--dry-run")
    Path("my_knn.py").write_text(NEWCOMER)
    assert cli("train", "--model", name, *place).code == 0
    assert "1 finished before" in cli(*compare, *place).words
    Path("my_knn.py").write_text(NEWCOMER.replace("+ 1e-9", "+ 1e-3"))
    assert "1 finished before" in cli(*compare, *place).words  # what this process has imported is the code of the run
    _forget("my_knn")
    changed = cli(*compare, *place)
    assert "1 to train" in changed.words and "The code of my_knn:ItemKNN has changed since run" in changed.words
    evaluated = cli("evaluate", "latest", *place)
    assert evaluated.code == 0 and "Its weights are used with the code as it is now." in evaluated.words
    assert cli("train", "--resume", "latest", *place).code == 0  # nothing is trained, so it stays a run of the old code
    assert "1 to train" in cli(*compare, *place).words


def test_the_code_is_that_of_the_file_that_defines_the_class_and_its_bases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(own_names.VARIABLE, name := "my_package:ItemKNN")
    Path("my_package").mkdir()
    Path("my_package/__init__.py").write_text("from my_package.model import ItemKNN\n")
    Path("my_package/base.py").write_text(
        "from mmssl_cli.models.base import Recommender\nclass Base(Recommender): ...\n"
    )
    model = NEWCOMER.replace("mmssl_cli.models.base import Recommender", "my_package.base import Base")
    Path("my_package/model.py").write_text(model.replace("(Recommender)", "(Base)"))

    def digest() -> str | None:
        for module in [each for each in sys.modules if each.startswith("my_package")]:
            del sys.modules[module]
        return own_models.code_digest(name)

    seen = {digest()}
    for file in ("my_package/model.py", "my_package/base.py"):
        Path(file).write_text(Path(file).read_text() + "# another code\n")
        seen.add(digest())
    assert len(seen - {None}) == 3
    assert digest() in seen


def test_a_class_of_the_running_script_is_a_model(demo: Path, tmp_path: Path) -> None:
    script = NEWCOMER + (
        f"import mmssl_cli\nrun = mmssl_cli.train('__main__:ItemKNN', {str(demo)!r}, runs_dir='runs')\n"
        "print(run.test['recall@20'])"
    )
    (tmp_path / "script.py").write_text(script)
    for words in (["script.py"], ["-c", script]):
        done = subprocess.run([sys.executable, *words], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert float(done.stdout) > 0.05


def test_a_run_of_two_codes_is_of_neither_and_a_search_is_of_one(cli: Cli, demo: Path) -> None:
    place = ("--data-dir", demo.parent)
    Path("my_bias.py").write_text(TRAINED)
    Path("ranges.toml").write_text("lr = [0.01, 0.02]\n")
    name, more = "my_bias:Biased", ("--dataset", "demo", "--epochs", 2, *place)
    tune = ("tune", name, "--ranges", "ranges.toml", "--trials", 1, "--seeds", 1, *more)
    assert cli("train", "--model", name, "--dataset", "demo", "--epochs", 1, *place).code == 0
    assert cli(*tune).code == 0
    Path("my_bias.py").write_text(TRAINED + "\n# other code\n")
    _forget("my_bias")
    assert cli("--import", name, "train", "--resume", "latest", "--epochs", 2, *place).code == 0
    assert "1 to train" in cli("compare", "--models", name, "--dry-run", *more).words
    again = cli(*tune)
    assert again.code == 1 and "code of the model" in again.words


def test_settings_found_for_a_model_of_ones_own_train_it(cli: Cli, demo: Path) -> None:
    place = ("--data-dir", demo.parent)
    Path("my_bias.py").write_text(TRAINED)
    Path("ranges.toml").write_text("lr = [0.01, 0.02]\n")
    name, small = "my_bias:Biased", ("--trials", 2, "--finalists", 1, "--seeds", 1, "--epochs", 1)
    found = cli("tune", name, "--dataset", "demo", "--ranges", "ranges.toml", *small, *place)
    assert found.code == 0, found.err
    assert Path("tuning/my_bias-Biased-demo.toml").is_file()
    [line] = [line for line in (found.out + found.err).splitlines() if "train with it: mmssl " in line]
    words = line.partition("train with it: mmssl ")[2].split()
    assert words[:2] == ["--import", name]
    _forget("my_bias")
    assert cli(*words, *place).code == 0
    _forget("my_bias")
    assert cli("compare", "--models", name, "--dataset", "demo", "--config", "tuning", *place).code == 0


def test_a_closed_pipe_does_not_blame_the_model(cli: Cli, demo: Path) -> None:
    Path("my_knn.py").write_text(NEWCOMER)
    assert cli("train", "--model", "my_knn:ItemKNN", "--data-dir", demo.parent).code == 0
    reader, writer = os.pipe()
    os.close(reader)
    command = ["--import", "my_knn:ItemKNN", "evaluate", "latest", "--data-dir", str(demo.parent)]
    done = subprocess.run(
        [sys.executable, "-m", "mmssl_cli", *command],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writer)
    assert "Error" not in done.stderr and "sys.exit" not in done.stderr


HEAD = "import torch\nfrom torch import nn\nfrom mmssl_cli.models.base import Recommender\nclass M(Recommender):\n"
EMBEDDINGS = HEAD.replace("Recommender", "EmbeddingRecommender")
FIT = "    def fit(self, data):\n        self.w = torch.ones(self.num_items)\n"
WRONG = {
    "no such module": ("my_typo:M", "", "there is no module 'my_typo'"),
    "no such class": ("my_model:N", HEAD + FIT, "has no class 'N': choose from M."),
    "not a model": ("my_model:M", "class M: pass", "expected a subclass of mmssl_cli.models.base.Recommender"),
    "syntax": ("my_model:M", "class M(:\n", "SyntaxError"),
    "import": ("my_model:M", "import nothing_of_this_name", "No module named 'nothing_of_this_name'"),
    "no score": ("my_model:M", HEAD + FIT, "define score(users), or represent()"),
    "no fit": ("my_model:M", HEAD + "    def score(self, users): ...\n", "define fit(data), or training_step(batch)"),
    "shape": (
        "my_model:M",
        HEAD + FIT + "    def score(self, users):\n        return self.w[None, 1:].repeat(len(users), 1)\n",
        "expected a row a user and a column an item",
    ),
    "NaN": (
        "my_model:M",
        HEAD + FIT + "    def score(self, users):\n        return self.w.repeat(len(users), 1) * float('nan')\n",
        "The scores hold NaN",
    ),
    "no tensor": ("my_model:M", HEAD + FIT + "    def score(self, users): ...\n", "expected a tensor"),
    "unsaved": (
        "my_model:M",
        HEAD + "    def fit(self, data):\n        self.w = {}\n    def score(self, users): ...\n",
        "cannot be saved with the run",
    ),
    "NaN in fit": (
        "my_model:M",
        HEAD + "    def fit(self, data):\n        self.w = torch.tensor([float('nan')])\n    def score(self, u): ...\n",
        "infinite or NaN values in 'w'",
    ),
    "its own bug": (
        "my_model:M",
        HEAD + FIT + "    def score(self, users):\n        return self.w @ self.nothing\n",
        "The model failed in score() (",
    ),
    "a bug below it": (
        "my_model:M",
        HEAD + FIT + "    def score(self, users):\n        return self.w @ torch.ones(3)\n",
        "The model failed in score() (",
    ),
    "no parameters": (
        "my_model:M",
        HEAD + "    def score(self, users): ...\n    def training_step(self, batch): ...\n",
        "has no parameters to train",
    ),
    "no loss": (
        "my_model:M",
        HEAD + "    def __init__(self, data, settings):\n        super().__init__(data, settings)\n"
        "        self.w = nn.Parameter(torch.ones(3))\n"
        "    def score(self, users): ...\n    def training_step(self, batch): ...\n",
        "training_step() of M returned a NoneType; expected a dictionary from names to scalar tensors",
    ),
    "a loss of each triple": (
        "my_model:M",
        EMBEDDINGS + "    def training_step(self, batch):\n        return {'bpr': self.users[batch.users].sum(1)}\n",
        "returned the loss term 'bpr', which is of the shape [1024]; expected a dictionary",
    ),
    "a loss that is no tensor": (
        "my_model:M",
        EMBEDDINGS + "    def training_step(self, batch):\n        return {'bpr': 0.5}\n",
        "returned the loss term 'bpr', which is a float; expected a dictionary",
    ),
    "settings of steps": (
        "my_model:M",
        "from mmssl_cli.config import TrainSettings\nclass S(TrainSettings): ...\n"
        + HEAD
        + "    settings: S\n"
        + FIT
        + "    def score(self, users): ...\n",
        "derive S from mmssl_cli.config.FittedSettings",
    ),
    "an attribute over a method": (
        "my_model:M",
        HEAD + "    def __init__(self, data, settings):\n        super().__init__(data, settings)\n"
        "        self.train = data.train\n" + FIT + "    def score(self, users): ...\n",
        "sets the attribute 'train', which hides the method train() of its class",
    ),
    "other arguments": (
        "my_model:M",
        HEAD + "    def __init__(self):\n        pass\n" + FIT + "    def score(self, users): ...\n",
        "takes other arguments than __init__(self, data, settings)",
    ),
    "a loss of no weight": (
        "my_model:M",
        EMBEDDINGS + "    def training_step(self, batch):\n        return {'bpr': self.users.detach().sum()}\n",
        "No loss term of training_step() of M depends on a weight",
    ),
    "embeddings of another width": (
        "my_model:M",
        EMBEDDINGS + "    def embeddings(self):\n        return self.users, self.items[:, :3]\n",
        "embeddings() of M returned arrays of the shapes [600, 64] and [400, 3]; expected",
    ),
    "one array of embeddings": (
        "my_model:M",
        EMBEDDINGS + "    def embeddings(self):\n        return self.users\n",
        "embeddings() of M returned a Parameter; expected embeddings of users and items, [600, d] and [400, d]",
    ),
    "one array of represent": (
        "my_model:M",
        HEAD + FIT + "    def represent(self):\n        return self.w\n",
        "represent() of M returned a Tensor; expected embeddings of users and items",
    ),
    "a loss term called total": (
        "my_model:M",
        EMBEDDINGS + "    def training_step(self, batch):\n        return {'total': self.users.sum()}\n",
        "names a loss term 'total'",
    ),
    "a setting without a default": (
        "my_model:M",
        "from mmssl_cli.config import TrainSettings\nclass S(TrainSettings):\n    own: int\n"
        + EMBEDDINGS
        + "    settings: S\n",
        "The setting 'own' of model 'my_model:M' has no default; give it one in S",
    ),
    "a setting of another type": (
        "my_model:M",
        "from mmssl_cli.config import TrainSettings\nclass S(TrainSettings):\n    lr: str = 'x'\n"
        + EMBEDDINGS
        + "    settings: S\n",
        "The setting 'lr' of model 'my_model:M' has another type than in other models; keep its type",
    ),
    "no super().__init__": (
        "my_model:M",
        HEAD
        + "    def __init__(self, data, settings):\n        self.n = 3\n"
        + FIT
        + "    def score(self, users): ...\n",
        "does not call super().__init__(data, settings)",
    ),
    "an end of the program": (
        "my_model:M",
        HEAD + "    def fit(self, data):\n        raise SystemExit(0)\n    def score(self, users): ...\n",
        "sys.exit(0) was called",
    ),
    "an error of its import": ("my_model:M", "import torch\n1 / 0\n", "my_model.py, line 2)"),
    "no settings": ("my_model:M", HEAD + "    settings: int\n" + FIT, "is no settings class"),
}


@pytest.mark.parametrize("case", WRONG)
def test_mistakes_end_in_a_sentence(cli: Cli, demo: Path, case: str) -> None:
    model, code, sentence = WRONG[case]
    Path("my_model.py").write_text(code)
    answer = cli("train", "--model", model, "--data-dir", demo.parent)
    assert answer.code in {1, 2}
    assert sentence in answer.words.replace("'[dim]'", "")
    assert "This is a bug in mmssl" not in answer.words
    assert "Traceback" not in answer.err


def test_an_interrupt_that_ends_in_another_error_is_an_interrupt(demo: Path, tmp_path: Path) -> None:
    code = """
    def fit(self, data):
        import os, signal
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except KeyboardInterrupt:
            raise ImportError("half-done") from None
    def score(self, users): ...
"""
    (tmp_path / "my_model.py").write_text(HEAD + code)
    command = [sys.executable, "-m", "mmssl_cli", "train", "--model", "my_model:M", "--data-dir", str(demo.parent)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 130
    assert ended.stderr.endswith("Interrupted.\n")


def test_the_command_that_resumes_names_the_model_for_import(cli: Cli, demo: Path) -> None:
    Path("my_model.py").write_text(
        EMBEDDINGS + "    def begin_epoch(self, epoch):\n        if epoch == 2:\n            raise KeyboardInterrupt\n"
    )
    stopped = cli("train", "--model", "my_model:M", "--epochs", 3, "--data-dir", demo.parent)
    assert stopped.code == 130
    [words] = [
        line.partition("Resume with: mmssl ")[2].split() for line in stopped.err.splitlines() if "Resume" in line
    ]
    assert words[:3] == ["--import", "my_model:M", "train"]
    Path("my_model.py").write_text(EMBEDDINGS + "    pass\n")
    _forget("my_model")
    assert cli(*words).code == 0


def test_import_after_the_command_is_told_its_place(cli: Cli) -> None:
    assert "--import stands before the command" in cli("evaluate", "latest", "--import", "my_model:M").words


def test_a_file_in_place_of_a_module_is_explained(cli: Cli) -> None:
    for name in ("own/mine.py:M", "mine.py"):
        answer = cli("train", "--model", name)
        assert answer.code == 2 and "is given as MODULE:CLASS, such as my_model:MyModel" in answer.words, answer.words


def test_a_failed_run_without_weights_is_not_said_to_have_some(cli: Cli, demo: Path) -> None:
    Path("my_bad.py").write_text(HEAD + "    def fit(self, data):\n        1 / 0\n    def score(self, users): ...\n")
    place = ("--data-dir", demo.parent)
    assert cli("train", "--model", "my_bad:M", *place).code == 1
    answer = cli("--import", "my_bad:M", "evaluate", "latest", *place)
    assert answer.code == 1 and "best model so far" not in answer.words and "has no model yet" in answer.words


def test_a_run_does_not_import_what_its_config_names(cli: Cli, demo: Path) -> None:
    place = ("--data-dir", demo.parent)
    assert cli("train", "--model", "pop", *place).code == 0
    [config] = Path("runs").glob("*/config.toml")
    Path("my_evil.py").write_text("open('owned', 'w').close()")
    config.write_text(config.read_text().replace('model = "pop"', 'model = "my_evil:Pop"'))
    for command in (("evaluate", "latest"), ("recommend", "latest", "--user", "user-0007"), ("runs",), ("report",)):
        answer = cli(*command, *(place if command[0] != "runs" else ()))
        assert not Path("owned").exists()
        assert "bug in mmssl" not in answer.words


def test_a_run_of_a_model_that_is_gone_names_its_module(cli: Cli, demo: Path) -> None:
    place = ("--data-dir", demo.parent)
    Path("my_gone.py").write_text(NEWCOMER)
    assert cli("train", "--model", "my_gone:ItemKNN", *place).code == 0
    _forget("my_gone")
    Path("my_gone.py").unlink()
    answer = cli("--import", "my_gone:ItemKNN", "evaluate", "latest", *place)
    assert answer.code == 1
    assert "cannot be read without its model. Model 'my_gone:ItemKNN' cannot be imported" in answer.words
    assert "there is no module 'my_gone' in" in answer.words


def test_a_fitted_model_may_have_a_setting_that_training_in_steps_has(cli: Cli, demo: Path) -> None:
    head = "from mmssl_cli.config import FittedSettings\nclass S(FittedSettings):\n    embedding_dim: int = 8\n"
    quiet = subprocess.run([sys.executable, "-W", "error", "-c", head], cwd=ROOT, capture_output=True, text=True)
    assert (quiet.returncode, quiet.stderr) == (0, "")
    Path("my_dim.py").write_text(head + NEWCOMER.replace("    def fit", "    settings: S\n\n    def fit"))
    answer = cli("train", "--model", "my_dim:ItemKNN", "--embedding-dim", "9", "--data-dir", demo.parent)
    assert answer.code == 0, answer.err
    [config] = Path("runs").glob("*/config.toml")
    assert "embedding-dim = 9" in config.read_text()


def test_an_installed_model_that_cannot_be_imported_is_left_out(
    cli: Cli, demo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = [EntryPoint("broken", "my_broken:Model", own_names.GROUP)]
    monkeypatch.setattr(own_names, "entry_points", lambda group: points)
    Path("my_broken.py").write_text("import nothing_of_this_name")
    for cached in (own_names.installed, own_models.importable):
        cached.cache_clear()
    try:
        listed = cli("models", "--json")
        assert listed.code == 0
        assert "broken" not in {row["model"] for row in json.loads(listed.out)}
        assert listed.err.count("Model 'broken' cannot be imported: ModuleNotFoundError") == 1
        assert cli("train", "--model", "pop", "--data-dir", demo.parent).code == 0
        refused = cli("train", "--model", "broken", "--data-dir", demo.parent)
        assert refused.code == 2 and "cannot be imported" in refused.words
    finally:
        for cached in (own_names.installed, own_models.importable):
            cached.cache_clear()


def test_an_installed_model_is_known_by_its_name(cli: Cli, demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("shop_models.py").write_text(NEWCOMER)
    points = [EntryPoint("shop-knn", "shop_models:ItemKNN", own_names.GROUP)]
    monkeypatch.setattr(own_names, "entry_points", lambda group: points)
    own_names.installed.cache_clear()
    try:
        place = ("--data-dir", demo.parent)
        assert "shop-knn" in {row["model"] for row in json.loads(cli("models", "--json").out)}
        assert cli("train", "--model", "shop-knn", *place).code == 0
        assert cli("evaluate", "latest", *place).code == 0
    finally:
        own_names.installed.cache_clear()
