"""Several models of a command line: names, or all."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from mmssl_cli.config import SETTINGS, TrainSettings, known_model, settings_class
from pipelines.errors import UsageError

ALL = "all"
_Settings = TypeVar("_Settings", bound=TrainSettings)


def chosen_models(named: Sequence[str]) -> tuple[list[str], bool]:
    """Return the named models, each once, and whether they are all: with the name ``all``, or with none.

    Raises:
        UsageError: there is no such model, or ``all`` stands beside others.
    """
    names = [ALL if name.casefold() == ALL else known_model(name) for name in named]
    if ALL in names and len(names) > 1:
        raise UsageError(f"Give {ALL}, or names of models, not both.")
    if not names or names == [ALL]:
        return list(SETTINGS), True
    names = list(dict.fromkeys(names))
    for name in names:
        settings_class(name)
    return names, False


def without_idle_content(plan: Mapping[str, _Settings], data_dir: Path) -> dict[str, _Settings]:
    """Leave out the models that need item features where the data set has none or none are used; say which."""
    from pipelines.prepared.manifest import read_manifest

    content = read_manifest(data_dir / next(iter(plan.values())).dataset).modalities
    left_out = [name for name, one in plan.items() if one.needs_content and (not content or one.modalities == ())]
    if left_out:
        reason = "--modalities none leaves them without" if content else "the data set has no"
        print(f"Left out, as {reason} item features: {', '.join(left_out)}", file=sys.stderr)
    return {name: one for name, one in plan.items() if name not in left_out}
