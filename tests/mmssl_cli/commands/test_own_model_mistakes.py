"""Mistakes in a model of one's own end in a sentence."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT, Answer
from tests.helpers.own_model import EMBEDDINGS, HEAD

pytestmark = pytest.mark.usefixtures("forgotten_models")

Cli = Callable[..., Answer]

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
        "expected [users, items] = ",
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
