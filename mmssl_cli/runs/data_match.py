"""Match settings and runs with the prepared data set, and the code of a model, that they are for."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmssl_cli.config import TrainSettings
from mmssl_cli.config.fit import check_fit
from mmssl_cli.config.own_models import code_digest
from mmssl_cli.config.registry import MODELS
from mmssl_cli.runs.folder import RunFolder
from mmssl_cli.runs.listing import data_digest
from pipelines.errors import InputError
from pipelines.prepared.manifest import read_manifest


def data_identity(settings: TrainSettings, data_dir: Path) -> dict[str, str]:
    """Digests of a data set that a run keeps: of its manifest, and of its files alone.

    Raises:
        InputError: the data set is not prepared, or its manifest is damaged.
    """
    manifest = read_manifest(data_dir / settings.dataset)
    return {"manifest_digest": manifest.digest, "content_digest": manifest.content_digest}


def model_code(settings: TrainSettings) -> dict[str, str]:
    """Return the digest of the file of a model of one's own, as a run keeps it; empty for other models."""
    if settings.model in MODELS:
        return {}
    return {"model_code": code_digest(settings.model)}


def code_of_both(provenance: Mapping[str, Any], settings: TrainSettings) -> dict[str, str]:
    """Return the digest of the code of a resumed run: of both where it has changed, so that it is neither's."""
    began, now = provenance.get("model_code"), model_code(settings)
    if began is None or now.get("model_code") in (began, None):
        return {}
    return {"model_code": hashlib.sha256(f"{began} {now['model_code']}".encode()).hexdigest()}


def changed_code(run: RunFolder, settings: TrainSettings) -> str | None:
    """Return a sentence if the file of a run's own model has changed since the run began, else None."""
    began = run.read_config()[1].get("model_code")
    if began is None or model_code(settings).get("model_code") in (began, None):
        return None
    return f"The code of {settings.model} has changed since run {run.id} was trained."


def check_settings(settings: TrainSettings, data_dir: Path) -> None:
    """Check that the settings fit their data set, by its manifest.

    Raises:
        InputError: the data set is not prepared, or its manifest is damaged.
        UsageError: the settings do not fit it.
    """
    manifest = read_manifest(data_dir / settings.dataset)
    check_fit(settings, manifest.name, manifest.counts.items, manifest.modalities)


def check_same_data(run: RunFolder, settings: TrainSettings, data_dir: Path) -> None:
    """Refuse a data set other than the one that a run was trained on.

    The same files under another manifest, as another version of this program may write it, are the same data.

    Raises:
        InputError: the data differ.
    """
    _, trained_on = run.read_config()
    found = data_identity(settings, data_dir)
    if not any(trained_on.get(key) == digest for key, digest in found.items()):
        raise InputError(
            f"Run {run.id} was trained on another preparation of data set {settings.dataset!r} than the one in "
            f"{data_dir} ({data_digest(trained_on)[:12]} in `mmssl runs show`, not {found['content_digest'][:12]}); "
            "restore the run's data, or start a new run."
        )
