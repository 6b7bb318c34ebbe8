"""Errors in the words of Python: the keyword in place of the flag."""

from __future__ import annotations

import functools
import inspect
import keyword
import re
from collections.abc import Callable, Iterable, Mapping
from typing import ParamSpec, TypeVar

from mmssl_cli.config.classes import SETTINGS
from pipelines.errors import MmsslError
from pipelines.recipe import PrepOptions, flag_of

_P = ParamSpec("_P")
_R = TypeVar("_R")
#: A flag or a word with dashes, or a command in backticks, which keeps its flags.
_FLAG = re.compile(r"`[^`]*`|(?<![\w./-])(?:--(?P<no>no-)?(?P<name>[a-z][a-z0-9-]*)|(?P<word>[a-z]+(?:-[a-z0-9]+)+))")


def keywords_in_errors(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Name arguments in the errors of a public function as Python does: ``k_core`` for ``--k-core``."""

    @functools.wraps(function)
    def named(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return function(*args, **kwargs)
        except MmsslError as error:
            error.args = (with_keywords(str(error), inspect.signature(function).parameters), *error.args[1:])
            raise

    return named


def keyword_of(option: str) -> str:
    """Return the keyword of a field of PrepOptions: its flag with underscores, and one at the end of a Python word."""
    name = flag_of(option).removeprefix("--").replace("-", "_")
    return f"{name}_" if keyword.iskeyword(name) else name


def with_keywords(sentence: str, arguments: Iterable[str] = ()) -> str:
    """Return a sentence with keywords in place of flags and names of settings, options of `prep` and ``arguments``."""
    known = {**_settings_and_options(), **{name.replace("_", "-"): name for name in arguments}}

    def named(found: re.Match[str]) -> str:
        if (name := found["name"] or found["word"]) not in known:
            return found[0]
        return f"{known[name]}=False" if found["no"] else known[name]

    return _FLAG.sub(named, sentence)


@functools.cache
def _settings_and_options() -> Mapping[str, str]:
    """Flag of a setting or an option of preparation, without the dashes before it -> its keyword."""
    settings = {field.replace("_", "-"): field for of in SETTINGS.values() for field in of.model_fields}
    options = {flag_of(field).removeprefix("--"): keyword_of(field) for field in PrepOptions.model_fields}
    return {**settings, **options, "dataset": "data"}
