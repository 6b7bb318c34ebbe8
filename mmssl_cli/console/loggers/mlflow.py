"""MLflow: `pip install 'mmssl[mlflow]'`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmssl_cli.console.loggers.base import LoggedRun, Logger, metrics_on_test, not_installed
from pipelines.errors import UsageError

#: The folder of the runs where no store is named.
FOLDER = "mlruns"
_TAG = "mmssl.run"


class MlflowLogger(Logger):
    """Logs to the store $MLFLOW_TRACKING_URI, else the folder ``mlruns`` of the working directory.

    The experiment is $MLFLOW_EXPERIMENT_NAME, else ``mmssl``. A run is found again by its tag ``mmssl.run``. MLflow
    allows no ``@`` in the names of metrics: ``recall@20`` is ``recall_at_20``.
    """

    def __init__(self) -> None:
        store = os.environ.get("MLFLOW_TRACKING_URI")
        if store is None:
            store = Path(FOLDER).absolute().as_uri()
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # of MLflow 3.15 and later
        try:
            from mlflow import MlflowClient
            from mlflow.exceptions import MlflowException
        except ImportError as problem:
            raise not_installed("mlflow", "MLflow") from problem
        self._run: str | None = None
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "mmssl")
        try:
            self._client: Any = MlflowClient(tracking_uri=store)
            found = self._client.get_experiment_by_name(name)
            self._experiment = found.experiment_id if found else self._client.create_experiment(name)
        except MlflowException as problem:
            raise UsageError(f"--mlflow cannot log to {store}: {problem}") from problem

    def start(self, run: LoggedRun, first_epoch: int) -> bool:
        found = self._client.search_runs([self._experiment], f"tags.`{_TAG}` = '{run.id}'")
        if found:
            self._run = found[0].info.run_id
            self._client.update_run(self._run, status="RUNNING")
            return True
        made = self._client.create_run(self._experiment, run_name=run.id, tags={_TAG: run.id})
        self._run = made.info.run_id
        for name, value in run.read_config()[0].items():
            self._client.log_param(self._run, name, value)
        return False

    def log(self, epoch: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._client.log_metric(self._run, name.replace("@", "_at_"), value, step=epoch)

    def finish(self, result: Mapping[str, Any]) -> None:
        self.log(result["epochs"], metrics_on_test(result))
        self._end("FINISHED")

    def close(self) -> None:
        self._end("KILLED")

    def _end(self, status: str) -> None:
        if self._run is not None:
            self._client.set_terminated(self._run, status)
            self._run = None
