"""Ids of users and items as tables write them: padded, missing, whole numbers with a fraction."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.io.raw import check_id
from pipelines.text import pluralize

MISSING = frozenset({"", "nan", "NaN", "NULL", "null", "None", "NA", "<NA>", "N/A", "n/a", "#N/A", r"\N"})
"""Words that mean a missing id."""

_NONE = "the id is missing"
_WHOLE = re.compile(r"[0-9]+(\.0)?")
_SHORTENED = re.compile(r"[0-9][.,][0-9]+[eE]\+[0-9]{2}")


def id_of(text: str | None, exact: bool = False) -> str:
    """Return the id of a cell, without white space around it.

    Args:
        exact: keep white space, and words that usually mean a missing value.

    Raises:
        ValueError: the id is missing or not valid.
    """
    name = (text or "") if exact else (text or "").strip()
    if not name or (name in MISSING and not exact):
        raise ValueError(f"{_NONE} ({name})" if name else _NONE)
    return check_id(name)


def are_whole_numbers(ids: Iterable[str]) -> bool:
    """Return whether ids are whole numbers, some of them like 12.0, as pandas writes a column with a missing value."""
    fraction = False
    for name in ids:
        match = _WHOLE.fullmatch(name)
        if not match:
            return False
        fraction = fraction or match[1] is not None
    return fraction


class IdColumn:
    """The ids of a column, coded in the order in which they appear; each distinct text is looked at once.

    Args:
        exact: see :func:`id_of`.
    """

    def __init__(self, exact: bool = False) -> None:
        self._exact = exact
        self._texts = pa.array([], pa.string())
        self._codes_of_texts = np.zeros(0, dtype=np.int32)
        self._codes: dict[str, int] = {}
        self._problems: list[tuple[str, str]] = []

    def codes(self, texts: pa.Array) -> np.ndarray:
        """Return the codes of ``texts``, int32 [n]; below 0 where the id is missing or invalid, see :meth:`problem`."""
        places = pc.index_in(texts, value_set=self._texts)
        if places.null_count:
            is_new = places.is_null()
            new = texts.filter(is_new)
            distinct = new.unique()
            found = pc.index_in(new, value_set=distinct).cast(pa.int64())
            places = pc.replace_with_mask(places, is_new, pc.add(found, len(self._texts)).cast(pa.int32()))
            self._texts = pa.concat_arrays([self._texts, distinct])
            codes = [self._code(text) for text in distinct.to_pylist()]
            self._codes_of_texts = np.append(self._codes_of_texts, np.array(codes, dtype=np.int32))
        return self._codes_of_texts[np.asarray(places)]

    def _code(self, text: str | None) -> int:
        """Return the code of a text that was not seen before."""
        try:
            name = id_of(text, self._exact)
        except ValueError as problem:
            kind = _NONE if str(problem).startswith(_NONE) else "the id is not valid"
            self._problems.append((str(problem), kind))
            return -len(self._problems)
        return self._codes.setdefault(name, len(self._codes))

    def problem(self, code: int) -> tuple[str, str]:
        """Return the reason for a code below 0: with the details of its text, and without."""
        return self._problems[-code - 1]

    def used(self, codes: np.ndarray) -> tuple[np.ndarray, list[str]]:
        """Renumber codes from 0 without gaps: return codes, int32 [n], and the id of each code."""
        occurs = np.zeros(len(self._codes), dtype=bool)
        occurs[codes] = True
        renumbered = (np.cumsum(occurs) - 1).astype(np.int32)
        return renumbered[codes], [name for name, is_used in zip(self._codes, occurs.tolist(), strict=True) if is_used]


def without_fractions(codes: np.ndarray, ids: Sequence[str], what: str) -> tuple[np.ndarray, Sequence[str], list[str]]:
    """Replace 12.0 by 12 if all ids are whole numbers.

    Returns:
        Codes, int32 [n], the id of each code, and sentences about ids of ``what`` (user or item) that were replaced.
    """
    if not are_whole_numbers(ids):
        return codes, ids, []
    code_of: dict[str, int] = {}
    merged = [code_of.setdefault(name.removesuffix(".0"), len(code_of)) for name in ids]
    example = next(name for name in ids if name.endswith(".0"))
    said = [f"{what} ids such as {example} are read as whole numbers, {example.removesuffix('.0')}"]
    if len(code_of) < len(ids):
        said.append(f"{pluralize(len(ids) - len(code_of), f'{what} id')} with .0 and without it count as the same")
    return np.array(merged, dtype=np.int32)[codes], list(code_of), said


def shortened_by_spreadsheets(ids: Iterable[str], what: str) -> list[str]:
    """Return a sentence on ids of ``what`` (user or item) that are rounded numbers, such as 1.00001E+12; or none."""
    found = [name for name in ids if _SHORTENED.fullmatch(name)]
    if not found:
        return []
    count = f"{pluralize(len(found), f'{what} id')} such as {found[0]}"
    return [f"{count}: rounded, as by spreadsheets, which merges ids; export that column as text"]


def written_as(names: Iterable[str], known: Container[str]) -> list[str]:
    """Return ids as ``known`` ones are written: 12.0 as 12 where that is known, or where all are whole numbers."""
    names = list(names)
    whole = are_whole_numbers(filter(None, names))
    plain = [name.removesuffix(".0") for name in names]
    pairs = zip(names, plain, strict=True)
    return [short if name not in known and (whole or short in known) else name for name, short in pairs]
