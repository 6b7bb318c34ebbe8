"""Whether a run and a prepared data set belong together."""

from __future__ import annotations

from pathlib import Path

from mmssl_cli.config import TrainSettings
from mmssl_cli.runs.folder import RunFolder
from pipelines.errors import InputError
from pipelines.prepared.manifest import read_manifest


def data_identity(settings: TrainSettings, data_dir: Path) -> dict[str, str]:
    """What a run remembers of its data set: the digest of its manifest, and that of its files alone.

    Raises:
        InputError: the data set is not prepared, or its manifest is damaged.
    """
    manifest = read_manifest(data_dir / settings.dataset)
    return {"manifest_digest": manifest.digest, "content_digest": manifest.content_digest}


def check_same_data(run: RunFolder, settings: TrainSettings, data_dir: Path) -> None:
    """The weights of a run belong to the users and items of the very data it was trained on.

    The same files under another manifest, as another version of this program may write it, are the same data.

    Raises:
        InputError: they are others.
    """
    _, trained_on = run.read_config()
    found = data_identity(settings, data_dir)
    if not any(trained_on.get(key) == digest for key, digest in found.items()):
        raise InputError(
            f"Run {run.id} was trained on another preparation of data set {settings.dataset!r} than the one in "
            f"{data_dir} (manifest {str(trained_on.get('manifest_digest'))[:12]}, not "
            f"{found['manifest_digest'][:12]}); prepare that one again, or start a new run."
        )
