"""`mmssl controls`: models on their features, on shuffled ones, on noise and on none."""

from __future__ import annotations

from typing import Annotated

import typer

from mmssl_cli.commands.options import listed
from mmssl_cli.commands.plan_options import PlanOptions, plans_runs
from mmssl_cli.commands.running import carry_out
from mmssl_cli.config.forms import CONTROLS, controls_plan


@plans_runs(exclude=("model", "variant", "modalities", "feature_control"))
def controls(
    *,
    options: PlanOptions,
    models: Annotated[
        list[str] | None,
        typer.Option("--models", metavar="MODEL", help="Models that use item features, separated by commas."),
    ] = None,
    more: Annotated[list[str] | None, typer.Argument(metavar="[MODEL]...", help="More models.")] = None,
) -> None:
    """Measure what item features are worth: real ones, those of other items, noise, and none.

    Each model is trained with the same settings and seeds on the data set's features, on the same features shuffled
    among the items, on noise of the same means and deviations, and without any, unless it cannot do without. By
    default the model is mmssl.

    Example: mmssl controls --dataset tiktok --models mmssl,lattice --runs 3

    Example: mmssl controls --dataset demo --out results
    """
    from pipelines.prepared.manifest import read_manifest

    names = list(dict.fromkeys([*listed(models), *listed(more)])) or ["mmssl"]
    options.check(names)
    on_features = {name: options.settings(name) for name in names}
    dataset = options.dataset()
    plan = controls_plan(on_features, read_manifest(options.data_dir / dataset).modalities)
    wanted = (kinds[kind] for kind in CONTROLS for kinds in plan.values() if kind in kinds)
    result = carry_out(options.plan(wanted), options)
    found = {name: result.configurations(kinds) for name, kinds in plan.items()}
    real = next(iter(plan.values()))["real"]
    kept = {name: kinds for name, kinds in found.items() if kinds}
    from mmssl_cli.studies.controls import controls_section  # pandas, once there is something to show

    section = controls_section(dataset, kept, real.select_on, options.metrics_of(real))
    result.present(section, options)
