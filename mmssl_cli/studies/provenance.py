"""Provenance of a report: data sets, settings, versions, devices, training time, and the id of every run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmssl_cli.config import RUNTIME_FIELDS
from mmssl_cli.console.training import clock
from mmssl_cli.reporting.document import Cell, Section, Table, number, word
from mmssl_cli.runs.results import Configuration, FinishedRun
from mmssl_cli.text import dashed, pluralize


def provenance_section(dataset: str, shown: Sequence[Configuration], left_out: Sequence[str] = ()) -> Section:
    """List the settings and runs of each configuration that a report shows.

    Args:
        left_out: sentences on runs that are not shown.
    """
    runs = [run for configuration in shown for run in configuration.runs]
    seconds = sum(run.seconds for run in runs)
    text = (
        f"{pluralize(len(runs), 'run')} of {pluralize(len(shown), 'configuration')}, "
        f"{clock(seconds)} of training in all.",
        *processor_time(runs),
        *left_out,
    )
    tables = (_settings(dataset, shown), _runs(dataset, runs)) if runs else ()
    return Section(f"provenance-{dashed(dataset)}", f"Provenance of {dataset}", text, tables)


def processor_time(runs: Sequence[FinishedRun]) -> tuple[str, ...]:
    """Return a sentence on the processor time of all epochs of the runs; none where none of them recorded it."""
    known = [run.processor_seconds for run in runs if run.processor_seconds is not None]
    if not known:
        return ()
    unknown = len(runs) - len(known)
    minutes = sum(known) / 60
    time = f"{minutes:,.1f} minutes" if minutes >= 1 else f"{60 * minutes:.1f} seconds"
    text = f"{pluralize(len(known), 'run')} took {time} of processor time in all"
    return (f"{text}; {pluralize(unknown, 'earlier run')} did not record it." if unknown else f"{text}.",)


def _settings(dataset: str, shown: Sequence[Configuration]) -> Table:
    """One row per configuration: the settings that differ from the model's defaults."""
    rows = tuple((word(one.label), word(one.seeds_text), word(unusual(one) or "all defaults")) for one in shown)
    return Table(
        dashed(f"settings-{dataset}"),
        f"Settings on {dataset}, where they differ from the model's defaults",
        ("Model", "Seeds", "Settings"),
        rows,
        labels=3,
    )


def unusual(configuration: Configuration) -> str:
    """Return the settings that differ from the model's defaults: ``layers 3, lr 0.0005``."""
    settings = configuration.settings
    fields = type(settings).model_fields
    named = {"model", "dataset", "seed", "variant", *RUNTIME_FIELDS}
    return ", ".join(
        f"{name.replace('_', '-')} {_shown(value)}"
        for name, value in settings.model_dump().items()
        if name not in named and value != fields[name].default
    )


def settings_sentence(configuration: Configuration) -> str:
    """Return a sentence on the settings that differ from the model's defaults."""
    named = unusual(configuration)
    return f"Settings that differ from the defaults: {named}." if named else "All settings are the defaults."


def _shown(value: Any) -> str:
    return ",".join(map(str, value)) or "none" if isinstance(value, tuple) else str(value)


def _runs(dataset: str, runs: Sequence[FinishedRun]) -> Table:
    rows = tuple(_run(run) for run in runs)
    return Table(
        dashed(f"runs-{dataset}"),
        f"Runs on {dataset}",
        ("Run", "Model", "Data set manifest", "mmssl", "torch", "Python", "Device", "Seed", "Epochs", "Seconds"),
        rows,
        labels=7,
        notes=("The manifest is named by the first digits of its SHA-256; each run's config.toml has all settings.",),
    )


def _run(run: FinishedRun) -> tuple[Cell, ...]:
    known = run.provenance
    versions = (word(known.get(name, "")) for name in ("mmssl", "torch", "python"))
    return (
        word(run.id),
        word(run.label),
        word(str(known.get("manifest_digest", ""))[:12]),
        *versions,
        word(known.get("device", run.result.get("device", ""))),
        number(run.seed, ".0f"),
        number(run.result["epochs"], ".0f"),
        number(run.seconds, ".1f"),
    )
