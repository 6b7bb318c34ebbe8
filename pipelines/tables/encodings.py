"""Text files of any encoding as blocks of whole lines in UTF-8."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import cast

from charset_normalizer import from_bytes

from pipelines.errors import InputError, UsageError
from pipelines.io.raw import LONGEST_LINE, opened

BROKEN = "\uffff"
"""Replaces bytes that cannot be decoded; a noncharacter, which does not occur in text."""

BLOCK = 16 * 2**20
"""Bytes of a file read at a time."""
_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins as UTF-16 does
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_LATIN = ["cp1252", "cp1250", "cp1254"]
_OTHER_SCRIPTS = ["cp1251", "cp1253", "cp1255", "cp1256", "koi8_r"]
_MULTI_BYTE = ["shift_jis", "euc_jp", "gb18030", "big5", "cp949"]
_SEQUENCE = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
_FOREIGN = re.compile(rb"[\x80-\xff]")
_FOREIGN_RUN = re.compile(rb"[\x80-\xff]+")
_LONG = 3
_CHAOS = 0.8
"""Threshold for charset-normalizer, above its default of 0.2, which rejects text with accents in every word."""
_SAMPLE = 2**16
_EVIDENCE = 3
"""Fewest bytes beyond ASCII to detect an encoding from."""
_MIXED = 50
"""Bytes of a legacy encoding among which one valid UTF-8 sequence may occur by chance."""
_SHOWN = 40


def _mark(problem: UnicodeError) -> tuple[str, int]:
    return BROKEN, cast(UnicodeDecodeError | UnicodeEncodeError, problem).end


codecs.register_error("pipelines.broken", _mark)


def text_blocks(
    path: Path, encoding: str | None = None, note: Callable[[str], None] = lambda _: None
) -> Iterator[bytes]:
    """Stream a plain or gzip file as UTF-8 without a byte order mark, in blocks of whole lines that end in ``\\n``.

    Bytes that cannot be decoded become :data:`BROKEN`.

    Args:
        encoding: encoding of the file; by default that of the byte order mark, else UTF-8, else detected.
        note: receives a sentence on the detected encoding.

    Raises:
        InputError: the file cannot be read, its gzip data are damaged, or a line is longer than LONGEST_LINE.
        UsageError: the encoding is unknown.
    """
    chunks = _chunks(path)
    first = next(chunks, b"")
    named = encoding or next((name for mark, name in _BOMS if first.startswith(mark)), None)
    chunks = chain([first], chunks)
    blocks = _whole_lines(_decoded(chunks, named, path) if named else chunks, path)
    finder = _Finder(path, note)
    for number, block in enumerate(blocks):
        text = block if named else finder.utf8(block)
        yield text if number else text.removeprefix(codecs.BOM_UTF8)


def _chunks(path: Path) -> Iterator[bytes]:
    done = 0
    with opened(path, lambda: f"byte {done:,}") as file:
        while chunk := file.read(BLOCK):
            yield chunk
            done += len(chunk)


def _decoded(chunks: Iterable[bytes], encoding: str, path: Path) -> Iterator[bytes]:
    try:
        b" ".decode(encoding, "replace")
    except (LookupError, ValueError):
        raise UsageError(
            f"There is no encoding {encoding!r}; --encoding expects one such as cp1252 or utf-16."
        ) from None
    decoder = codecs.getincrementaldecoder(encoding)("pipelines.broken")
    try:
        for chunk in chunks:
            yield decoder.decode(chunk).encode("utf-8", "pipelines.broken")
        yield decoder.decode(b"", final=True).encode("utf-8", "pipelines.broken")
    except ValueError as problem:
        raise InputError(f"{path} cannot be decoded as {encoding} ({problem}); check --encoding.") from problem


def _whole_lines(chunks: Iterable[bytes], path: Path) -> Iterator[bytes]:
    rest, old_mac = b"", None
    for chunk in chunks:
        if old_mac is None:
            old_mac = b"\r" in chunk and b"\n" not in chunk
        text = rest + (chunk.replace(b"\r", b"\n") if old_mac else chunk)
        end = text.rfind(b"\n") + 1
        if end:
            yield text[:end]
        rest = text[end:]
        if len(rest) > LONGEST_LINE:
            raise InputError(f"{path} is not a sound table: a record is longer than {LONGEST_LINE:,} bytes.")
    if rest:
        yield rest


class _Finder:
    """Converts blocks to UTF-8; detects the encoding of those that are not UTF-8."""

    def __init__(self, path: Path, note: Callable[[str], None]) -> None:
        self._path, self._note = path, note
        self._found: str | None = None

    def utf8(self, block: bytes) -> bytes:
        if block.isascii():
            return block
        try:
            block.decode()
            return block
        except UnicodeDecodeError:
            return block.decode(self._encoding(block), "pipelines.broken").encode()

    def _encoding(self, block: bytes) -> str:
        """Return the encoding of a block: UTF-8 if it mixes two, or if there is too little evidence for another."""
        sequences, others = _SEQUENCE.subn(b"", block)[1], len(_FOREIGN.findall(_SEQUENCE.sub(b"", block)))
        found = self._found or (_likeliest(block) if others >= _EVIDENCE else None)
        if found is None or (found not in _MULTI_BYTE and sequences > others // _MIXED):
            return "utf-8"
        if self._found is None:
            self._found = found
            line = next(line for line in block.split(b"\n") if not line.isascii()).decode(found, "replace")
            self._note(
                f"{self._path.name} is not in UTF-8 but, it seems, in {found}: {line.strip()[:_SHOWN]!r}; if that "
                "is wrong, name the encoding with --encoding"
            )
        return found


def _likeliest(block: bytes) -> str | None:
    """Return the likeliest encoding; in a tie, that of western Europe."""
    sample = b"\n".join(line for line in block[: 64 * _SAMPLE].split(b"\n") if not line.isascii())
    if len(sample) > _SAMPLE:
        sample = sample[: sample.rfind(b"\n", 0, _SAMPLE)] or sample[:_SAMPLE]
    runs = _FOREIGN_RUN.findall(sample)
    # In Latin script, such bytes stand alone between ASCII letters.
    others = [*_OTHER_SCRIPTS, *_MULTI_BYTE] if len(b"".join(runs)) >= _LONG * len(runs) else []
    matches = from_bytes(sample, threshold=_CHAOS, cp_isolation=[*_LATIN, *others])
    best = matches.best()
    if best is None:
        return None
    equal = [match for match in matches if (match.chaos, match.coherence) == (best.chaos, best.coherence)]
    names = {name for match in equal for name in match.could_be_from_charset}
    return _LATIN[0] if _LATIN[0] in names else best.encoding
