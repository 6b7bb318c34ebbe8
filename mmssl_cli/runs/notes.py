"""The note that a user keeps with a run, in note.txt."""

from __future__ import annotations

from pathlib import Path

from pipelines.io.files import write_bytes

NOTE = "note.txt"


def write_note(run: Path, text: str) -> None:
    """Write the note of the run in a folder.

    Raises:
        InputError: the file cannot be written.
    """
    write_bytes(run / NOTE, (text + "\n").encode())


def read_note(run: Path) -> str:
    """Return the note of the run in a folder; empty if there is none, or it cannot be read."""
    try:
        return (run / NOTE).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
