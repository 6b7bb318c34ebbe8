"""`mmssl ablate`: the full model and its variants under the same settings and seeds (Table 3)."""

from __future__ import annotations

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
    settings_for,
)
from mmssl_cli.config import VARIANTS
from pipelines.errors import UsageError, nearest


@accepts_settings(exclude=("model", "variant"))
def ablate(
    *,
    variant: Annotated[
        list[str] | None,
        typer.Option("--variant", metavar="NAME", help=f"{', '.join(VARIANTS[1:])}; all if left out."),
    ] = None,
    variants: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="More variants.")] = None,
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
    """Train MMSSL and its variants with the same settings and seeds, and compare them: Table 3.

    The full model is always among them. Runs that are finished already are reused, those that were cut off are
    resumed; the same command goes on after an interruption.

    Example: mmssl ablate --dataset tiktok --variant w/o-GT --runs 5

    Example: mmssl ablate --dataset demo --runs 3 --out results
    """
    from mmssl_cli.experiments.plan import over_seeds
    from mmssl_cli.studies.ablation import ablation_section, variant_settings

    chosen = _chosen([*listed(variant), *listed(variants)])
    given = {name: value for name, value in flags.items() if value is not None}
    full = settings_for(None, {**given, "model": "mmssl"}, config, data_dir)
    if full.modalities == ():
        raise UsageError("The variants change parts that work on modalities: leave out --modalities none.")
    plan = {name: variant_settings(full, name) for name in chosen}
    options = PlanOptions(data_dir, runs_dir, jobs, dry_run, tensorboard, out, as_json)
    # Seed by seed: a plan that is cut off has compared all variants on some seeds.
    result = carry_out(
        [run for seeds in zip(*(over_seeds(s, runs) for s in plan.values()), strict=True) for run in seeds], options
    )
    found = {name: result.configuration(settings) for name, settings in plan.items()}
    section = ablation_section(plan["full"], {name: ours for name, ours in found.items() if ours is not None})
    present(section, result, out, as_json)


def _chosen(names: list[str]) -> list[str]:
    for name in names:
        if name not in VARIANTS:
            raise UsageError(f"There is no variant {name!r}: {nearest(name, VARIANTS)}")
    return [name for name in VARIANTS if name == "full" or name in names or not names]
