"""Processed data sets, and releases of MicroLens: a folder or zip in one of the layouts, given as `--from`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from pipelines.build import Plan, Request
from pipelines.download.archive import extract_zip
from pipelines.errors import InputError, UsageError
from pipelines.io.step_cache import WorkFolder
from pipelines.layouts import LAYOUTS, load_layout
from pipelines.layouts.mmssl import SPLIT_FILES
from pipelines.layouts.unknown import unknown_folder
from pipelines.sources import microlens

_UNPACKED = "unpacked-"


class Published:
    """A folder or zip, whose layout is recognised by its files."""

    needs_files: ClassVar[bool] = True

    @classmethod
    def plan(cls, request: Request) -> Plan:
        """Plan to read the folder as its layout says; see :class:`pipelines.build.Source`."""
        if request.options.source is None:
            if request.options.interactions is not None:
                raise UsageError(
                    f"--interactions is not applicable: give {request.name} as a folder or zip, with --from."
                )
            raise UsageError(
                f"{request.name} is prepared from files: give the folder or zip that holds train.json, val.json and "
                f"test.json (user -> list of items) as `mmssl prep {request.name} --from PLACE`."
            )
        folder = unpacked(request.options.source, request.work)
        if not folder.is_dir():
            raise InputError(f"There is no folder {folder}; --from expects one with {', '.join(SPLIT_FILES.values())}.")
        layout = layout_of(folder)
        if layout is None and microlens.recognises(folder):
            return microlens.MicroLens.plan_folder(folder, request)
        if layout is None:
            raise unknown_folder(folder, request.report)
        return load_layout(layout).plan(folder, request)


def layout_of(folder: Path) -> str | None:
    """Return the name of the first layout that recognises ``folder``; None if none does."""
    return next((name for name in LAYOUTS if load_layout(name).recognises(folder)), None)


@contextmanager
def unpacked_removed_on_refusal(work: WorkFolder) -> Iterator[None]:
    """Remove what was unpacked into the work folder if a ``with`` block refuses its contents.

    Raises:
        InputError, UsageError: the same, with the name of the zip in place of that of the folder.
    """
    try:
        yield
    except (InputError, UsageError) as problem:
        told = str(problem)
        for folder, archive in work.unpacked.items():
            shutil.rmtree(folder, ignore_errors=True)
            told = told.replace(str(folder), str(archive))
        raise (problem if told == str(problem) else type(problem)(told)) from None


def unpacked(place: Path, work: WorkFolder) -> Path:
    """Return the folder that ``place`` is, or that a zip holds; a zip is unpacked into the work folder, once.

    Raises:
        InputError: the zip is damaged or dangerous, or holds several data sets.
    """
    if place.is_dir() or not place.exists():
        return place
    folder = work.path / f"{_UNPACKED}{work.sha256(place)[:16]}"
    work.unpacked[folder] = place
    if not folder.is_dir():
        work.reporter.line(f"Unpacking {place}")
        extract_zip(place, folder)
    inside = sorted(path for path in folder.iterdir() if path.is_dir() and path.name != "__MACOSX")
    found = [path for path in (folder, *inside) if layout_of(path) or microlens.recognises(path)]
    if len(found) > 1:
        raise InputError(f"{place} holds several data sets, in {' and in '.join(map(str, found[:3]))}; leave one.")
    return found[0] if found else inside[0] if len(inside) == 1 else folder
