"""Names of models from outside of the package: ``module:Class`` named by the user, and entry points of packages.

Importing a model runs its code, so a name in the file of a run is not enough: the user must have named it too, as a
flag (``--model``, ``--import``), in $MMSSL_IMPORT or in Python, or have installed it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import entry_points

from pipelines.errors import UsageError

#: Names of models that the user has named, separated by commas; processes started from here inherit it.
VARIABLE = "MMSSL_IMPORT"
GROUP = "mmssl.models"
_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def is_own(model: str) -> bool:
    """Return whether a name has the form ``package.module:Class``."""
    return _NAME.fullmatch(model) is not None and not model.endswith(":full")  # a variant: `mmssl sparsity` takes these


def allow(words: Iterable[str]) -> None:
    """Allow the import of models that the user has named: those among words, and in lists separated by commas."""
    found = [name for word in words for name in word.rpartition("=")[2].split(",") if is_own(name.strip())]
    if found:
        os.environ[VARIABLE] = ",".join(dict.fromkeys([*allowed(), *map(str.strip, found)]))


@contextmanager
def allowed_if_valid(words: Iterable[str]) -> Iterator[None]:
    """As ``allow``, but take it back if the ``with`` block refuses a name."""
    before = os.environ.get(VARIABLE)
    allow(words)
    try:
        yield
    except UsageError:
        os.environ.pop(VARIABLE, None)
        if before is not None:
            os.environ[VARIABLE] = before
        raise


def allowed() -> list[str]:
    """Return what the user has named, models or not."""
    return [name for name in os.environ.get(VARIABLE, "").split(",") if name]


@cache
def installed() -> dict[str, str]:
    """Return the models of installed packages: name -> ``module:Class``."""
    return {point.name: point.value for point in entry_points(group=GROUP)}


def named() -> list[str]:
    """Return the models that the user has named."""
    return [name for name in allowed() if is_own(name)]
