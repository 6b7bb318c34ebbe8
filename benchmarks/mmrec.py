"""MMRec (https://github.com/enoche/MMRec) in the process that calls, from a checkout that is not part of this project.

Its program is run as it is; what it asks of older libraries, or of a GPU, is put in place beforehand.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from mmssl_cli.data.interactions import InteractionData
from pipelines.errors import InputError

NAME = "exported"
_DATASET = """USER_ID_FIELD: userID
ITEM_ID_FIELD: itemID
TIME_FIELD: timestamp
filter_out_cod_start_users: True
inter_file_name: 'exported.inter'
vision_feature_file: 'image_feat.npy'
text_feature_file: 'text_feat.npy'
user_graph_dict_file: 'none.npy'
field_separator: "\\t"
"""


def write_data(data: InteractionData, folder: Path) -> None:
    """Write a data set in MMRec's form; its two modalities, called visual and textual there, are the first two here."""
    folder.mkdir(parents=True, exist_ok=True)
    splits = [
        pd.DataFrame({"userID": split.row_of_each().numpy(), "itemID": split.indices.numpy(), "x_label": label})
        for label, split in enumerate((data.train, data.validation, data.test))
    ]
    pd.concat(splits).to_csv(folder / f"{NAME}.inter", sep="\t", index=False)
    for name, values in zip(("image", "text"), data.features.values(), strict=False):
        np.save(folder / f"{name}_feat.npy", values.float().numpy())


def given_settings(pairs: Sequence[str]) -> dict[str, Any]:
    """Return the settings of ``NAME=VALUE``: numbers, true and false, else text."""
    given: dict[str, Any] = {}
    for name, _, value in (pair.partition("=") for pair in pairs):
        try:
            given[name] = json.loads(value)
        except ValueError:
            given[name] = value
    return given


class MMRec:
    """A model of MMRec on exported data, with its trainer.

    Args:
        checkout: the folder of MMRec, in which ``src`` lies.
        data: the folder whose subfolder ``exported`` is of ``write_data``.
        model: its name in MMRec, such as LightGCN.
        settings: beside those of its files, of which the first of several values counts.

    Raises:
        InputError: the folder holds no MMRec, or a library that it needs is not installed.
    """

    def __init__(self, checkout: Path, data: Path, model: str, settings: Mapping[str, Any]) -> None:
        source = (checkout / "src").absolute()
        if not (source / "utils" / "quick_start.py").is_file():
            raise InputError(f"{checkout} holds no MMRec; --mmrec names a checkout of github.com/enoche/MMRec.")
        _stand_in()
        sys.path.insert(0, str(source))
        previous = Path.cwd()
        os.chdir(source)  # its files of settings are found from there
        try:
            self._start(data.absolute(), model, dict(settings))
        except ImportError as problem:
            libraries = "lmdb pyyaml torch-geometric"
            raise InputError(f"MMRec needs a library ({problem}); try: pip install {libraries}") from problem
        finally:
            os.chdir(previous)
        self.epochs = 0

    def _start(self, data: Path, model: str, settings: dict[str, Any]) -> None:
        its = {
            name: importlib.import_module(f"utils.{name}")
            for name in ("configurator", "dataset", "dataloader", "utils")
        }
        dataset = Path("configs/dataset") / f"{NAME}.yaml"
        dataset.write_text(_DATASET)
        given = {"gpu_id": 0, "use_gpu": False, "data_path": f"{data}/", **settings}
        config = its["configurator"].Config(model, NAME, given)
        for name in config["hyper_parameters"]:
            if isinstance(config[name], list) and name not in settings:
                config[name] = config[name][0]
        if isinstance(config["seed"], list):
            config["seed"] = config["seed"][0]
        whole = its["dataset"].RecDataset(config)
        splits = [whole, *whole.split()]
        for split in splits:
            str(split)  # counts what the loaders read
        _, train, validation, test = splits
        loaders = its["dataloader"]
        self.train = loaders.TrainDataLoader(config, train, batch_size=config["train_batch_size"], shuffle=True)
        self.validation, self.test = (
            loaders.EvalDataLoader(config, split, additional_dataset=train, batch_size=config["eval_batch_size"])
            for split in (validation, test)
        )
        its["utils"].init_seed(config["seed"])
        self.train.pretrain_setup()
        self.model = its["utils"].get_model(model)(config, self.train)
        self.trainer = its["utils"].get_trainer()(config, self.model, False)
        self.metric = str(config["valid_metric"]).lower()

    def epoch(self) -> float:
        """Train one epoch and return its processor seconds."""
        started = time.process_time()
        self.model.pre_epoch_processing()
        self.trainer._train_epoch(self.train, self.epochs)
        self.trainer.lr_scheduler.step()
        self.model.post_epoch_processing()
        self.epochs += 1
        return time.process_time() - started

    def evaluate(self, split: str = "test") -> tuple[float, dict[str, float]]:
        """Return the processor seconds of an evaluation, and its metrics."""
        started = time.process_time()
        metrics = self.trainer.evaluate(getattr(self, split))
        return time.process_time() - started, metrics


def _stand_in() -> None:
    """Put in place what MMRec asks for: names that NumPy and SciPy dropped, a function of torch_scatter, a GPU."""
    for name, kind in (("float", float), ("int", int), ("object", object)):
        setattr(np, name, kind)
    sparse = importlib.import_module("scipy.sparse")
    sparse.dok_matrix._update = lambda self, entries: self._dict.update(entries)
    scatter = ModuleType("torch_scatter")
    scatter.scatter_add = _scatter_add  # type: ignore[attr-defined]
    scatter.scatter = None  # type: ignore[attr-defined]  # SLMRec imports it and has no use for it
    sys.modules.setdefault("torch_scatter", scatter)
    for kind in (Tensor, torch.nn.Module):
        kind.cuda = lambda self, *given, **named: self  # type: ignore[method-assign]


def _scatter_add(source: Tensor, index: Tensor, dim: int = 0, dim_size: int | None = None) -> Tensor:
    count = dim_size or int(index.max()) + 1
    return torch.zeros(count, dtype=source.dtype).index_add_(dim, index, source)
