"""Classes and settings of the models from outside of the package."""

from __future__ import annotations

import hashlib
import importlib
import sys
from functools import cache, lru_cache
from inspect import get_annotations, isclass, isfunction
from pathlib import Path
from pkgutil import resolve_name
from traceback import extract_tb
from types import CodeType, ModuleType
from typing import Any, Literal, cast, get_origin
from weakref import WeakKeyDictionary

from pydantic import Field, create_model

from mmssl_cli.config.own_names import VARIABLE, allowed, installed
from mmssl_cli.config.registry import MODELS
from mmssl_cli.config.train import FittedSettings, TrainSettings
from mmssl_cli.console.errors import OWN_MODULES
from mmssl_cli.console.lines import warn
from pipelines.errors import UsageError, nearest

_BASES = "mmssl_cli.models.base"
#: Of imported modules, their specification, which a reload makes anew, and the digest of their file as imported.
_digests: WeakKeyDictionary[ModuleType, tuple[object, str | None]] = WeakKeyDictionary()
#: Packages whose classes are no code of the user.
_LIBRARIES = {*sys.stdlib_module_names, "mmssl_cli", "torch"}


@cache
def importable(model: str) -> bool:
    """Return whether an installed model can be imported; say once on standard error why one cannot."""
    try:
        own_settings(model)
    except UsageError as problem:
        warn(f"{problem} It is an installed package's, and is left out of the models.")
        return False
    return True


def own_class(model: str) -> type[Any]:
    """Import the class of a model by ``module:Class``, or by the name of an entry point.

    Raises:
        UsageError: it was not named by the user, cannot be imported, or is no ``Recommender``.
    """
    target = installed().get(model, model)
    module_name, _, class_name = target.partition(":")
    if model not in installed() and model not in allowed() and module_name not in sys.modules:
        raise UsageError(
            f"Model {model!r} is code outside of mmssl, which is not run because a file names it; if you trust it, "
            f"name it too: `mmssl --import {model} ...`, or set {VARIABLE}={model}."
        )
    OWN_MODULES.add(module_name)
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)  # last, so that a file here hides no library
    try:
        module = importlib.import_module(module_name)
        found = getattr(module, class_name, None)
        if isclass(found):
            for defining in _defining_modules(found):
                if defining not in _digests or _digests[defining][0] is not defining.__spec__:
                    _digests[defining] = defining.__spec__, _digest_of(defining)
    except Exception as problem:  # the user's own code may fail in any way
        raise UsageError(f"Model {model!r} cannot be imported: {_reason(problem, module_name)}") from problem
    base = resolve_name(f"{_BASES}:Recommender")  # PyTorch, which the model imports as well
    if isclass(found) and issubclass(found, base):
        return found
    if found is not None:
        raise UsageError(
            f"{module_name}.{class_name} is no model: expected a subclass of mmssl_cli.models.base.Recommender."
        )
    known = [name for name, value in vars(module).items() if isclass(value) and issubclass(value, base)]
    known = [name for name in known if vars(module)[name].__module__ == module_name]
    hint = nearest(class_name, known) if known else "it has no subclass of mmssl_cli.models.base.Recommender."
    raise UsageError(f"Module {module_name!r} has no class {class_name!r}: {hint}")


def code_digest(model: str) -> str:
    """Return the SHA-256 of a model as it was imported: of the file that defines its class, or of its files.

    The base classes of the user count as well. Of a class without a file, as in a notebook, it is that of its methods.

    Raises:
        UsageError: as ``own_class`` does.
    """
    found = own_class(model)
    digests = [digest for module in _defining_modules(found) if (digest := _digests[module][1]) is not None]
    if len(digests) > 1:
        return hashlib.sha256(" ".join(digests).encode()).hexdigest()
    return digests[0] if digests else _digest_of_methods(found)


def stale_code(model: str) -> str | None:
    """Return a sentence if a file of a model of one's own has changed since it was imported, else None."""
    if model in MODELS:
        return None
    for module in _defining_modules(own_class(model)):
        if _digests[module][1] not in (None, _digest_of(module)):
            return (
                f"{module.__file__} has changed since it was imported, and {model} is still the model as it was; "
                f"importlib.reload(sys.modules[{module.__name__!r}]) reads it again."
            )
    return None


def _defining_modules(found: type) -> list[ModuleType]:
    """The modules of the user's own that define a class and its bases."""
    names = dict.fromkeys(one.__module__ for one in found.__mro__ if one.__module__.split(".")[0] not in _LIBRARIES)
    return [sys.modules[name] for name in names if name in sys.modules]


def _digest_of(module: ModuleType) -> str | None:
    file = getattr(module, "__file__", None)
    try:
        return hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else None
    except OSError:
        return None


def _digest_of_methods(found: type) -> str:
    """The SHA-256 of the methods and plain attributes of a class and its bases, whose source may be lost."""
    parts = []
    for one in found.__mro__:
        if one.__module__.split(".")[0] not in _LIBRARIES:
            for name, value in vars(one).items():
                function = getattr(value, "__func__", getattr(value, "fget", value))
                if isfunction(function):
                    parts.append((name, _shown(function.__code__)))
                elif isinstance(value, str | int | float | tuple):
                    parts.append((name, repr(value)))
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _shown(code: CodeType) -> str:
    constants = [_shown(one) if isinstance(one, CodeType) else repr(one) for one in code.co_consts]
    return repr((code.co_code, constants, code.co_names, code.co_varnames))


def _reason(problem: Exception, module: str) -> str:
    if isinstance(problem, ModuleNotFoundError) and problem.name and module.split(".")[:1] == [problem.name]:
        return f"there is no module {problem.name!r} in {Path.cwd()} or among the installed packages."
    where = f" ({problem.filename}, line {problem.lineno})" if isinstance(problem, SyntaxError) else _place(problem)
    message = problem.msg if isinstance(problem, SyntaxError) else str(problem)
    return f"{type(problem).__name__}: {message}{where}.".replace("\n", " ")


def _place(problem: Exception) -> str:
    """Say where code outside of the libraries' own import machinery raised an error."""
    traced = [frame for frame in extract_tb(problem.__traceback__) if not frame.filename.startswith("<")]
    last = traced[-1] if traced else None
    return f" ({last.filename}, line {last.lineno})" if last is not None and last.filename != __file__ else ""


@lru_cache
def _settings_of(model: str, cls: type[Any]) -> type[TrainSettings]:
    base = _declared(cls)
    if base is None:
        base = FittedSettings if cls.has_fit() else TrainSettings
    if issubclass(base, FittedSettings) != cls.has_fit():
        right, method = ("FittedSettings", "has") if cls.has_fit() else ("TrainSettings", "has no")
        raise UsageError(
            f"Model {model!r} {method} fit(): derive {base.__name__} from mmssl_cli.config.{right}, not from "
            f"{'TrainSettings' if cls.has_fit() else 'FittedSettings'}."
        )
    made: Any = cast(Any, create_model)(
        base.__name__,
        __base__=base,
        __module__=cls.__module__,
        __doc__=(cls if base in {TrainSettings, FittedSettings} else base).__doc__,
        **{"model": (Literal[model], Field(model, description=TrainSettings.model_fields["model"].description))},
    )
    _check_types(model, made)
    if required := [name for name, field in made.model_fields.items() if field.is_required()]:
        raise UsageError(
            f"The setting {required[0]!r} of model {model!r} has no default; give it one in {base.__name__}."
        )
    try:
        made()
    except TypeError as problem:  # such as a bound that does not suit the type
        raise UsageError(f"The settings class {base.__name__} of model {model!r} is not valid: {problem}.") from problem
    # Its name in its module is that of the class it is made from: pickled, it is made again where it is read.
    made.__reduce__ = lambda self: (_rebuilt, (model, self.model_dump()))
    found: type[TrainSettings] = made
    return found


def _check_types(model: str, made: type[TrainSettings]) -> None:
    for name, usual in TrainSettings.model_fields.items():
        field = made.model_fields.get(name)
        kept = field is None or field.annotation == usual.annotation or get_origin(field.annotation) is Literal
        if not kept:
            raise UsageError(
                f"The setting {name!r} of model {model!r} has another type than in other models; keep its type, or "
                "choose another name."
            )


def _rebuilt(model: str, values: dict[str, Any]) -> TrainSettings:
    return own_settings(model)(**values)


def own_settings(model: str) -> type[TrainSettings]:
    """Return the settings class of a model of one's own: that of its annotation ``settings: ...``, if it has one.

    Raises:
        UsageError: as ``own_class`` does, or the settings are none.
    """
    return _settings_of(model, own_class(model))  # type: ignore[arg-type]


def _declared(cls: type[Any]) -> type[TrainSettings] | None:
    for ancestor in cls.__mro__:
        if "settings" not in get_annotations(ancestor):
            continue
        found = get_annotations(ancestor)["settings"]
        if isinstance(found, str):
            found = getattr(sys.modules[ancestor.__module__], found, None)
        if not (isclass(found) and issubclass(found, TrainSettings)):
            raise UsageError(
                f"The annotation `settings` of {ancestor.__name__} is no settings class; expected a subclass of "
                "mmssl_cli.config.TrainSettings, or of FittedSettings for a model with fit()."
            )
        return None if found is TrainSettings else found
    return None
