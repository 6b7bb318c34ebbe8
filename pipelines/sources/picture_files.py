"""The files that items name: pictures, audio and video, by their ids or by a cell of the table."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import pandas as pd

from pipelines.errors import InputError
from pipelines.features.pictures import ENDINGS
from pipelines.text import pluralize, some

_LONGEST_NAME = 255
"""Bytes of the name of a file, on every usual disk."""
_LONGEST_PATH = 4096


def pictures_named(folder: Path, item_ids: Sequence[str]) -> list[str | None]:
    """The picture in ``folder`` that bears each id as its name; of several kinds, the first in order of the alphabet.

    The ids are looked up among the names that are there, so that none of them is taken for a path.

    Raises:
        InputError: the folder has no pictures, but a folder in it does.
    """
    pictures = _pictures(folder)
    if not pictures:
        _refuse_outer(folder)
    by_id = {path.stem: str(path) for path in reversed(pictures)}
    return [by_id.get(name) for name in item_ids]


def _pictures(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if path.suffix.lower() in ENDINGS]


def _refuse_outer(folder: Path) -> None:
    for inner in sorted(path for path in folder.iterdir() if path.is_dir()):
        if count := len(_pictures(inner)):
            raise InputError(f"{folder} has no images itself, but {inner} has {count:,}; give that folder.")


def unused_pictures(folder: Path, items: pd.DataFrame, *, by_id: bool) -> list[str]:
    """Return lines on the files of a folder that are the picture of no item.

    Args:
        by_id: whether files are named by ids, so that their endings decide.
    """
    known, ids = set(items["image"].dropna()), set(items["id"])
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith(".")]
    left = [path for path in files if str(folder / path.name) not in known]
    unread = [path.name for path in left if by_id and path.stem in ids and path.suffix.lower() not in ENDINGS]
    others = [path.name for path in left if path.name not in unread]
    lines = []
    if others:
        shown = f"{len(others):,} of {len(files):,} files of {folder}"
        lines.append(f"not used: {shown}: not the image of an item kept ({some(others)})")
    if unread:
        shown = f"{pluralize(len(unread), 'file')} of {folder} ({some(unread)})"
        lines.append(f"not used: {shown}: of items, but in no supported format: {', '.join(ENDINGS)}")
    return lines


def file_named(texts: list[str], folder: Path, outside: list[str]) -> str | None:
    """The file that a cell names, the first of several, or its address; None where there is none.

    White space around it does not count. What is no path inside ``folder``, such as a picture itself in letters
    (``data:image/png;base64,...``), is none, and is noted in ``outside``.
    """
    text = texts[0].strip() if texts else ""
    if not text or text.startswith(("http://", "https://")):
        return text or None
    path = PurePosixPath(text)
    is_plain = ".." not in path.parts and not set(text) & set("\\\ufffd") and text.isprintable()
    is_plain &= not text.startswith("data:") and len(os.fsencode(text)) <= _LONGEST_PATH
    is_plain &= all(len(os.fsencode(part)) <= _LONGEST_NAME for part in path.parts)
    if is_plain and not path.is_absolute():
        return str(folder / path)
    if is_plain and (place := next(filter(path.is_relative_to, (folder.absolute(), folder.resolve())), None)):
        return str(folder / path.relative_to(place))
    outside.append(text)
    return None
