"""Shipped settings as TOML files: those of a data set, and named presets with the source of each value."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipelines.errors import InputError, UsageError
from pipelines.io import parsing

#: Presets by name: what the paper prints, the authors' public program, a search, the defaults, all that helps.
PRESETS = ("paper", "released", "tuned", "none", "best")
#: A folder of settings for each data set (its ``tuned``) and each other preset, and ``ranges`` for `mmssl tune`.
SHIPPED = Path(__file__).parents[1] / "presets"
#: Tables of a settings file that hold no settings.
_NOTES = ("provenance", "source")


def parse_toml(path: Path, absent: str) -> dict[str, Any]:
    """Read a TOML file.

    Args:
        absent: message of the error if there is no such file.

    Raises:
        InputError: the file is missing, cannot be read or is not TOML.
    """
    try:
        return parsing.parse_toml(path.read_bytes())
    except FileNotFoundError as problem:
        raise InputError(absent) from problem
    except IsADirectoryError as problem:
        raise InputError(f"{path} is a folder; expected a TOML file.") from problem
    except ValueError as problem:
        raise InputError(f"{path} is not valid TOML ({problem}); correct it or leave it out.") from problem
    except OSError as problem:
        raise InputError(f"Cannot read {path}: {problem.strerror}.") from problem


def read_toml(path: Path) -> dict[str, Any]:
    """Read a flat TOML file of settings, keys with underscores; the tables ``provenance`` and ``source`` are left out.

    Raises:
        InputError: the file is missing or is not TOML.
    """
    raw = parse_toml(path, f"There is no settings file {path}; expected a TOML file of settings.")
    settings = {key.replace("-", "_"): value for key, value in raw.items() if key not in _NOTES}
    if len(settings) < len(raw.keys() - set(_NOTES)):
        raise InputError(f"{path} has a setting twice, once with dashes and once with underscores; keep one.")
    return settings


def preset_file(preset: str, model: str, dataset: str) -> Path | None:
    """Return the file of a preset for a model: that of the data set, else the general one, else None."""
    own = SHIPPED / dataset if preset == "tuned" else SHIPPED / preset / dataset
    folders = [own] if dataset not in (*PRESETS, "ranges") else []
    for folder in (*folders, SHIPPED / preset):
        if (folder / f"{model}.toml").is_file():
            return folder / f"{model}.toml"
    return None


def shipped_datasets(preset: str, model: str) -> list[str]:
    """Return the data sets that a preset has a file of its own for, by name."""
    files = (SHIPPED if preset == "tuned" else SHIPPED / preset).glob(f"*/{model}.toml")
    return sorted({path.parent.name for path in files} - {*PRESETS, "ranges"})


def has_preset(preset: str, model: str, dataset: str) -> bool:
    """Return True if a model has a preset on a data set; ``none`` and ``tuned`` are there for all."""
    return preset in ("none", "tuned") or preset_file(preset, model, dataset) is not None


def preset_settings(preset: str, model: str, dataset: str) -> dict[str, Any]:
    """Return the values of a preset that are laid over the defaults; ``tuned`` has none where nothing was searched.

    Raises:
        UsageError: there is no such preset, or none for this model and data set.
    """
    check_preset([model], preset, dataset)
    path = preset_file(preset, model, dataset)
    return _without_names(read_toml(path)) if path is not None else {}


def check_preset(models: Sequence[str], preset: str, dataset: str) -> None:
    """Check that at least one of the models has a preset.

    Raises:
        UsageError: there is no such preset, or none of them has it.
    """
    if preset not in PRESETS:
        raise UsageError(f"--preset cannot be {preset!r}: expected one of {', '.join(PRESETS)}.")
    if not any(has_preset(preset, model, dataset) for model in models):
        known = [name for name in PRESETS if any(has_preset(name, model, dataset) for model in models)]
        raise UsageError(
            f"There is no preset {preset!r} of {', '.join(models)} on {dataset}; --preset can be {', '.join(known)}."
        )


def shipped_settings(dataset: str, model: str) -> dict[str, Any]:
    """Return the settings shipped for a data set and a model, empty if there are none."""
    path = preset_file("tuned", model, dataset)
    return read_toml(path) if path is not None and path.parent.name == dataset else {}


def searched_name(model: str, dataset: str) -> str:
    """Return the name, without suffix, of the files of a search, without the colon of a model of one's own."""
    return f"{model.replace(':', '-')}-{dataset}"


def searched_file(folder: Path, model: str, dataset: str, suffix: str = "toml") -> Path:
    """Return a file that a search of a model writes to a folder, by default that of the settings."""
    return folder / f"{searched_name(model, dataset)}.{suffix}"


def searched_files(folder: Path, models: Sequence[str], dataset: str) -> dict[str, Path]:
    """Return the files of settings that searches wrote to a folder, by model; others are left out.

    Raises:
        UsageError: it has none for any of the models.
    """
    files = {model: searched_file(folder, model, dataset) for model in models}
    found = {model: file for model, file in files.items() if file.is_file()}
    if models and not found:
        raise UsageError(
            f"--config {folder} has no settings for {', '.join(models)} on {dataset}: expected a file such as "
            f"{files[models[0]].name}, which `mmssl tune` writes."
        )
    return found


def sources(path: Path) -> dict[str, str]:
    """Return the source of each value of a preset's file: from its ``[source]`` table, else of its provenance."""
    raw = parse_toml(path, f"There is no settings file {path}.")
    found = {key.replace("-", "_"): str(text) for key, text in raw.get("source", {}).items()}
    provenance = raw.get("provenance", {})
    usual = provenance.get("method") or (f"search of {provenance['searched']}" if "searched" in provenance else "")
    return {key: found.get(key, usual) for key in _without_names(read_toml(path))}


def _without_names(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in ("model", "dataset")}
