"""Export of a prepared data set in the layout of another tool, from which it can be prepared again without loss.

Files of our own beside it hold what the layout has no room for: notes of the features, tables of ids and times.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from pipelines.errors import InputError, UsageError, nearest
from pipelines.io.files import atomic_folder
from pipelines.io.raw import check_id
from pipelines.layouts import LAYOUTS, load_layout
from pipelines.layouts.notes import write_notes
from pipelines.layouts.numbered_ids import PICTURES
from pipelines.prepared.dataset import PreparedDataset
from pipelines.prepared.manifest import check_files, read_manifest
from pipelines.prepared.read import read_prepared


def export(folder: Path, layout: str, out: Path) -> list[Path]:
    """Write the prepared data set in ``folder`` to ``out``, a new or empty folder; return the files, by name.

    ``mmrec`` and ``recbole`` come with a configuration file, ``<name>.yaml``, for that tool. An empty text comes back
    as an unknown one.

    Raises:
        UsageError: an unknown layout.
        InputError: the data set is damaged, has ids that no text file can hold, or ``out`` cannot be written.
    """
    if layout not in LAYOUTS:
        raise UsageError(f"There is no format {layout!r}: {nearest(layout, LAYOUTS)}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} already exists and is not an empty folder; remove it or choose another one.")
    manifest = read_manifest(folder)
    dataset = read_prepared(folder)
    pictures = [name for name in manifest.files if name.startswith(f"{PICTURES}/")]
    check_files(folder, manifest, pictures)
    _check_ids(dataset)
    with atomic_folder(out) as place:
        write_notes(place, load_layout(layout).write(dataset, place), dataset.features)
        if pictures:
            (place / PICTURES).mkdir()
        for name in pictures:
            shutil.copyfile(folder / name, place / name)
    return sorted(path for path in out.rglob("*") if path.is_file())


def _check_ids(dataset: PreparedDataset) -> None:
    for kind, table in (("user", dataset.users), ("item", dataset.items)):
        for name in table["id"]:
            try:
                check_id(name)
            except ValueError as problem:
                raise InputError(f"{dataset.name} has {kind} ids that cannot be exported: {problem}.") from None
