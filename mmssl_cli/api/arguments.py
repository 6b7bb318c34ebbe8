"""Checks of arguments that several functions take."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from numbers import Integral
from typing import Any

from mmssl_cli.api.paths import shown
from mmssl_cli.config import known_model, settings_class
from mmssl_cli.config.own_models import stale_code
from mmssl_cli.config.own_names import allowed_if_valid, is_own
from mmssl_cli.text import as_list
from pipelines.errors import UsageError


def known_names(models: object) -> list[str]:
    """Return one name of a model or several, each once; models of one's own may be imported from then on.

    Raises:
        UsageError: none, or an unknown one.

    Warns:
        UserWarning: the file of a model of one's own is another one than was imported.
    """
    given = as_list(models)
    for name in given:
        if not isinstance(name, str):
            raise UsageError(f'A model cannot be {shown(name)}: expected its name, such as "mf".')
        if "," in name and not is_own(name):
            raise UsageError(f"A model cannot be {name!r}: give several models as a list of names.")
    if not given:
        raise UsageError('No model is given: expected at least one model, such as "mf".')
    with allowed_if_valid(given):
        names = list(dict.fromkeys(map(known_model, given)))
        for name in names:
            settings_class(name)
    for sentence in filter(None, map(stale_code, names)):
        warnings.warn(sentence, stacklevel=4)
    return names


def check_count(name: str, number: object, meaning: str) -> None:
    """Check that a number is a whole one of at least 1.

    Raises:
        UsageError: it is not.
    """
    if not isinstance(number, Integral) or isinstance(number, bool) or number < 1:
        raise UsageError(f"{name} cannot be {number!r}: expected the number of {meaning}, at least 1.")


def check_flags(**flags: object) -> None:
    """Check that arguments are True or False.

    Raises:
        UsageError: one is not.
    """
    for name, value in flags.items():
        if not isinstance(value, bool):
            raise UsageError(f"{name} cannot be {shown(value)}: expected True or False.")


def check_settings_alone(settings: Mapping[str, Any]) -> None:
    """Check that what is an argument of its own is not among the settings.

    Raises:
        UsageError: it is.
    """
    for name, what in (("dataset", "data set is the argument data"), ("model", "model is the argument of that name")):
        if name in settings:
            raise UsageError(f"The {what}; leave out {name}.")
