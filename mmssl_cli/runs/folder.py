"""The folder of one run. Files are written whole or not at all, and checked when they are read.

config.toml        settings, flat, and a [provenance] table
metrics.parquet    a row per epoch; curves.png and curves.svg draw it
result.json        status, test metrics, cost
per_user.parquet   test metrics a user
per_item.parquet   test hits an item, written by `mmssl sparsity`
per_item_epochs.parquet   their sums over the epochs, with item-epochs
analysis.json      results of `mmssl analyze`
model.safetensors  weights of the best epoch
state.pt           checkpoint to resume from
log.jsonl          events, a line each
note.txt           a note of the user's
lock               held while a process writes the run
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import datetime
from itertools import count, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmssl_cli.config import TrainSettings, build_settings, settings_class
from mmssl_cli.runs.result_fields import parse_result
from mmssl_cli.runs.states import read_state, write_state
from mmssl_cli.runs.tables import parse_table, write_table
from pipelines.errors import InputError, UsageError
from pipelines.io.files import read_problem, write_bytes, write_json, write_problem
from pipelines.io.locks import held, is_held
from pipelines.io.parsing import parse_toml

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from torch import Tensor

CONFIG = "config.toml"
METRICS = "metrics.parquet"
RESULT = "result.json"
PER_USER = "per_user.parquet"
PER_ITEM = "per_item.parquet"
ITEM_EPOCHS = "per_item_epochs.parquet"
MODEL = "model.safetensors"
STATE = "state.pt"
LOG = "log.jsonl"
LOCK = "lock"
#: Seconds that an epoch can take: thirty years.
_LONGEST = 1e9
FILES = (CONFIG, METRICS, RESULT, PER_USER, MODEL, STATE, LOG, LOCK)


def new_run_id(dataset: str, model: str, seed: int, started: datetime) -> str:
    """The id of a run, such as ``20261123-105501-tiktok-mmssl-s2023``: ids sort by their start."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", f"{started:%Y%m%d-%H%M%S}-{dataset}-{model}-s{seed}")


class RunFolder:
    """One run on disk; its id is the folder's name.

    What reads a file raises InputError where the file is missing or damaged; what writes one, where it cannot be
    written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def id(self) -> str:
        return self.path.resolve().name

    @classmethod
    def create(cls, runs_dir: Path, run_id: str, config: str) -> RunFolder:
        """Make a folder that holds ``config`` (TOML text); an id that is taken gets ``-2``, ``-3``, ...

        Raises:
            UsageError: the id is not a plain name.
            InputError: the folder cannot be written.
        """
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", run_id) or run_id == "latest":
            raise UsageError(f"A run cannot be called {run_id!r}: use letters, digits, . _ and -.")
        try:
            runs_dir.mkdir(parents=True, exist_ok=True)
            path = _make_free_folder(runs_dir / run_id)
        except OSError as problem:
            raise write_problem(runs_dir / run_id, problem) from problem
        run = cls(path)
        try:
            run.write_config(config)
        except InputError:
            with suppress(OSError):
                path.rmdir()
            raise
        return run

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """Open an existing run.

        Raises:
            InputError: the folder does not exist or holds no config.toml.
        """
        if not path.is_dir():
            raise InputError(f"There is no run folder {path}; `mmssl runs` lists the runs.")
        if not (path / CONFIG).is_file():
            raise InputError(f"{path} is not a run: it holds no {CONFIG}; `mmssl runs` lists the runs.")
        return cls(path)

    def write_config(self, config: str) -> None:
        """Write config.toml (TOML text)."""
        write_bytes(self.path / CONFIG, config.encode())

    def read_config(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Read config.toml: the settings, keys with underscores and not yet validated, and the provenance table."""
        with self._reading(CONFIG) as path:
            try:
                raw = parse_toml(path.read_bytes())
            except ValueError as problem:  # of TOML or of UTF-8
                raise InputError(f"{path} is damaged: not valid TOML ({problem}).") from problem
        provenance = raw.pop("provenance", {})
        settings = {key.replace("-", "_"): value for key, value in raw.items()}
        whole = isinstance(provenance, dict) and {"manifest_digest", "started"} <= provenance.keys()  # first and last
        if not whole or not all(isinstance(settings.get(key), str) for key in ("model", "dataset")):
            raise InputError(f"{path} is damaged or truncated: it lacks model, data set or provenance of the run.")
        return settings, provenance

    def settings(self) -> TrainSettings:
        """The settings of config.toml, validated."""
        saved = self.read_config()[0]
        try:
            earlier = settings_class(saved["model"]).legacy_defaults
        except UsageError as problem:
            raise InputError(f"Run {self.id} cannot be read without its model. {problem}") from problem
        try:
            return build_settings({**earlier, **saved})
        except UsageError as problem:
            raise InputError(f"{self.path / CONFIG} does not describe a run. {problem}") from problem

    def write_metrics(self, epochs: pd.DataFrame | Sequence[Mapping[str, Any]]) -> None:
        """Write metrics.parquet: a row per epoch, with ``epoch``, ``seconds``, ``lr``, losses and metrics."""
        import pandas as pd

        write_table(self._kept(METRICS), pd.DataFrame(epochs))

    def read_metrics(self) -> pd.DataFrame:
        """Read metrics.parquet; its rows are by epoch."""
        import pandas as pd

        return pd.DataFrame(self.read_epochs())

    def read_epochs(self) -> dict[str, list[float]]:
        """Read the columns of metrics.parquet, NaN where there is none; unlike ``read_metrics`` without pandas."""
        table = self._table(METRICS, ("epoch", "seconds"))
        columns = {
            name: [float("nan") if value is None else value for value in table[name].to_pylist()]
            for name in table.column_names
        }
        epochs = columns["epoch"]
        if not all(epoch < after for epoch, after in pairwise(epochs)):
            raise InputError(f"{self.path / METRICS} is damaged: its epochs are not in order.")
        if not all(0 <= seconds <= _LONGEST for seconds in columns["seconds"]):
            raise InputError(f"{self.path / METRICS} is damaged: it has an epoch that took no possible time.")
        return columns

    def write_per_user(self, table: pd.DataFrame) -> None:
        """Write per_user.parquet: ``user`` and ``train_degree`` int32, and a float column a metric."""
        write_table(self._kept(PER_USER), table)

    def read_per_user(self) -> pd.DataFrame:
        """Read per_user.parquet."""
        return self._counts_and_metrics(PER_USER, ("user", "train_degree"))

    def write_per_item(self, table: pd.DataFrame) -> None:
        """Write per_item.parquet: ``item``, ``train_degree``, ``relevant``, ``hits@K``, ``recommended@K``; int32."""
        write_table(self._kept(PER_ITEM), table)

    def read_per_item(self) -> pd.DataFrame:
        """Read per_item.parquet."""
        return self._counts_and_metrics(PER_ITEM, ("item", "train_degree", "relevant"))

    def write_item_epochs(self, table: pd.DataFrame) -> None:
        """Write per_item_epochs.parquet: as per_item.parquet, counts summed over the validated ``epochs``; int64."""
        write_table(self._kept(ITEM_EPOCHS), table)

    def read_item_epochs(self) -> pd.DataFrame | None:
        """Read per_item_epochs.parquet; None for a run without ``item_epochs``."""
        if not (self.path / ITEM_EPOCHS).exists():
            return None
        return self._counts_and_metrics(ITEM_EPOCHS, ("item", "train_degree", "relevant", "epochs"))

    def write_result(self, result: Mapping[str, Any]) -> None:
        """Write result.json, with the keys that ``read_result`` requires."""
        write_json(self._kept(RESULT), dict(result))

    def read_result(self) -> dict[str, Any]:
        """Read result.json: at least status, model, dataset, seed, epochs, best_epoch, validation and test."""
        with self._reading(RESULT) as path:
            return parse_result(path, path.read_bytes())

    def save_model(self, state_dict: Mapping[str, Tensor]) -> None:
        """Write model.safetensors from a module's ``state_dict()``, and remove per_item.parquet of older weights."""
        from safetensors.torch import save

        from mmssl_cli.sparse.saving import dense_parts

        with suppress(OSError):
            (self.path / PER_ITEM).unlink()
        write_bytes(self._kept(MODEL), save(dense_parts(state_dict)))

    def has_model(self) -> bool:
        """Return whether an epoch was validated, so that there are weights."""
        return (self.path / MODEL).is_file()

    def load_model(self) -> dict[str, Tensor]:
        """Read the weights of the best epoch onto the CPU."""
        from safetensors.torch import load

        from mmssl_cli.sparse.saving import join_parts

        with self._reading(MODEL, "train the run again") as path:
            return join_parts(load(path.read_bytes()))

    def check_model(self) -> None:
        """Check the header and length of model.safetensors without reading the weights."""
        from safetensors import safe_open

        with self._reading(MODEL, "train the run again") as path, safe_open(path, framework="numpy"):
            pass

    def write_state(self, state: Mapping[str, Any]) -> None:
        """Write state.pt."""
        write_state(self._kept(STATE), state)

    def read_state(self) -> dict[str, Any]:
        """Read state.pt onto the CPU."""
        with self._reading(STATE, "the run cannot be resumed from it; train it again") as path:
            return read_state(path)

    def append_log(self, record: Mapping[str, Any]) -> None:
        """Add a line to log.jsonl, whole or not at all."""
        path = self._kept(LOG)
        size = path.stat().st_size if path.exists() else 0
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(dict(record), ensure_ascii=False) + "\n")
        except OSError as problem:
            with suppress(OSError):
                os.truncate(path, size)
            raise write_problem(path, problem) from problem

    def failure(self) -> str:
        """Return why training ended, as the last line of log.jsonl has it; empty where it did not fail."""
        try:
            lines = (self.path / LOG).read_text(encoding="utf-8").splitlines()
            last = json.loads(lines[-1]) if lines else {}
        except (OSError, ValueError):
            return ""
        return str(last.get("problem", "")) if isinstance(last, dict) and last.get("event") == "failed" else ""

    def lock(self) -> AbstractContextManager[None]:
        """Hold the run for a ``with`` block, so that no other process writes it.

        Raises:
            MmsslError: another process holds it; the sentence names that process.
        """
        return held(self.path / LOCK, f"Run {self.id}")

    def is_over(self) -> bool:
        """Return whether the run has a result."""
        return (self.path / RESULT).exists()

    def is_locked(self) -> bool:
        """Return whether a process is writing the run."""
        return is_held(self.path / LOCK)

    def _kept(self, name: str) -> Path:
        """Return the path to write a file to, unless the folder was removed: a new one would lack the settings.

        Raises:
            InputError: the folder is gone, or holds no config.toml.
        """
        if not (self.path / CONFIG).is_file():
            raise InputError(
                f"The folder {self.path} was removed, or its {CONFIG}, while the run was trained; train the run again."
            )
        return self.path / name

    def _table(self, name: str, columns: Sequence[str]) -> pa.Table:
        with self._reading(name) as path:
            return parse_table(path, path.read_bytes(), columns)

    def _counts_and_metrics(self, name: str, columns: Sequence[str]) -> pd.DataFrame:
        table = self._table(name, columns).to_pandas()
        for column in table:
            least = -1 if column.startswith("similarity@") else 0
            if not table[column].between(least, 2**31 - 1).all():
                raise InputError(f"{self.path / name} is damaged: its column {column} has an impossible number.")
        return table

    @contextmanager
    def _reading(self, name: str, advice: str = "") -> Iterator[Path]:
        path = self.path / name
        try:
            yield path
        except InputError:
            raise
        except FileNotFoundError as problem:
            raise InputError(f"Run {self.id} has no {name} (in {self.path}).") from problem
        except OSError as problem:
            raise read_problem(path, problem) from problem
        except Exception as problem:  # a damaged file of PyTorch, safetensors or JSON fails in many ways
            raise InputError(f"{path} is damaged or truncated{advice and f'; {advice}'}.") from problem


def _make_free_folder(path: Path) -> Path:
    for number in count(1):
        free = path if number == 1 else path.with_name(f"{path.name}-{number}")
        with suppress(FileExistsError):
            free.mkdir()  # making it claims the name, also against a run that starts at the same moment
            return free
    raise AssertionError
