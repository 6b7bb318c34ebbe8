"""`mmssl compare`: many models on one data set, one split, one evaluation (Table 2)."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from mmssl_cli.commands.options import DEFAULT_DATA_DIR, DEFAULT_RUNS_DIR, DataDir, RunsDir, accepts_settings
from mmssl_cli.commands.planning import (
    AsJson,
    Config,
    DryRun,
    Jobs,
    Out,
    PlanOptions,
    Runs,
    TensorBoard,
    carry_out,
    listed,
    present,
    refuse_idle_flags,
    settings_for,
)
from mmssl_cli.config import SETTINGS, settings_class
from pipelines.errors import UsageError

ALL = "all"


@accepts_settings(exclude=("model", "variant"))
def compare(
    *,
    models: Annotated[
        list[str] | None,
        typer.Option("--models", metavar="MODEL", help="Models to compare, with commas between; or all, the default."),
    ] = None,
    more: Annotated[list[str] | None, typer.Argument(metavar="[MODEL]...", help="More models.")] = None,
    runs: Runs = 1,
    jobs: Jobs = 1,
    dry_run: DryRun = False,
    config: Config = None,
    out: Out = None,
    as_json: AsJson = False,
    tensorboard: TensorBoard = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
    **flags: Any,
) -> None:
    """Compare models on one data set, beside published numbers: Table 2, with tests and costs.

    Each model has the settings shipped for it and the data set, else its defaults; a flag applies to every model
    that has it. What is finished is reused, what was cut off is resumed, the rest is trained.

    Example: mmssl compare --dataset tiktok --models all --runs 5

    Example: mmssl compare --dataset demo --models mmssl,lightgcn,mf --jobs 2 --out results
    """
    from mmssl_cli.experiments.plan import over_seeds
    from mmssl_cli.studies.comparison import comparison_section
    from mmssl_cli.studies.representatives import validation

    given = {name: value for name, value in flags.items() if value is not None}
    names = _chosen([*listed(models), *listed(more)])
    refuse_idle_flags(names or list(SETTINGS), given)
    plan = {name: settings_for(name, given, config, data_dir) for name in names or SETTINGS}
    if not names:
        plan = _with_content(plan, data_dir)
    options = PlanOptions(data_dir, runs_dir, jobs, dry_run, tensorboard, out, as_json)
    # Seed by seed: a plan that is cut off has compared all models on some seeds.
    by_seed = zip(*(over_seeds(settings, runs) for settings in plan.values()), strict=True)
    result = carry_out([run for seeded in by_seed for run in seeded], options)
    found = [one for settings in plan.values() if (one := result.configuration(settings)) is not None]
    first = next(iter(plan.values()))
    k = int(first.select_on.partition("@")[2])
    present(comparison_section(first.dataset, sorted(found, key=validation), k), result, out, as_json)


def _chosen(names: list[str]) -> list[str]:
    """The models that are named, each once; none for all of them."""
    if ALL in names and len(names) > 1:
        raise UsageError(f"--models {ALL} holds every model; leave out the others, or {ALL}.")
    if ALL in names:
        return []
    for name in names:
        settings_class(name)
    return list(dict.fromkeys(names))


def _with_content(plan: dict[str, Any], data_dir: Any) -> dict[str, Any]:
    """All models that the data set has enough for: without features none that works on content."""
    from pipelines.manifest import read_manifest

    settings = next(iter(plan.values()))
    chosen = settings.modalities
    has_content = bool(read_manifest(data_dir / settings.dataset).modalities) and chosen != ()
    left_out = [name for name, one in plan.items() if one.needs_content and not has_content]
    if left_out:
        print(f"Left out, for there are no item features here: {', '.join(left_out)}", file=sys.stderr)
    return {name: one for name, one in plan.items() if name not in left_out}
