"""`mmssl ablate`: the full model and its variants with the same settings and seeds (Table 3)."""

from __future__ import annotations

from typing import Annotated

import typer

from mmssl_cli.commands.options import listed
from mmssl_cli.commands.plan_options import PlanOptions, plans_runs
from mmssl_cli.commands.running import carry_out
from mmssl_cli.config import VARIANTS, TrainSettings
from mmssl_cli.config.forms import check_ablation, chosen_variants, variant_settings
from pipelines.errors import UsageError


@plans_runs(exclude=("model", "variant"))
def ablate(
    *,
    options: PlanOptions,
    variant: Annotated[
        list[str] | None,
        typer.Option("--variant", metavar="NAME", help=f"{', '.join(VARIANTS[1:])}; by default all."),
    ] = None,
    adversary: Annotated[
        bool, typer.Option("--adversary", help="Compare forms of the adversary instead, each with the same without it.")
    ] = False,
    variants: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="More variants.")] = None,
) -> None:
    """Train MMSSL and its variants with the same settings and seeds, and compare them: Table 3.

    The full model is always among them. Finished runs are reused and interrupted ones resumed: after an interruption,
    run the same command again. --adversary asks whether the adversary helps in any form: rows brought to one length, a
    discriminator that knows the user, modality features kept from collapse, weighted edges in Eq. 8.

    Example: mmssl ablate --dataset tiktok --variant w/o-GT --runs 5

    Example: mmssl ablate --dataset demo --runs 3 --out results

    Example: mmssl ablate --dataset tiktok --preset paper --runs 5

    Example: mmssl ablate --dataset demo --adversary --runs 5
    """
    from pipelines.prepared.manifest import read_manifest

    chosen = chosen_variants([*listed(variant), *listed(variants)])
    if adversary and len(chosen) < len(VARIANTS):
        raise UsageError("--adversary compares forms of the adversary, not variants; leave out --variant.")
    options.check(["mmssl"])
    full = options.settings(model="mmssl")
    check_ablation(full, read_manifest(options.data_dir / full.dataset).modalities)
    if adversary:
        _compare_forms(full, options)
        return
    plan = {name: variant_settings(full, name) for name in chosen}
    result = carry_out(options.plan(plan.values()), options)
    kept = result.configurations(plan)
    from mmssl_cli.studies.ablation import ablation_section  # pandas, once there is something to show

    section = ablation_section(plan["full"], kept, options.metrics_of(full))
    result.present(section, options)


def _compare_forms(given: TrainSettings, options: PlanOptions) -> None:
    from mmssl_cli.studies.adversary import adversary_section, form_settings

    pairs = form_settings(given)
    labelled = ((form, one) for form, pair in pairs.items() for one in (pair.adversary, pair.without))
    result = carry_out(options.labelled_plan(labelled), options)
    found = {
        form: (ours, without)
        for form, pair in pairs.items()
        if (ours := result.configuration(pair.adversary)) and (without := result.configuration(pair.without))
    }
    result.present(adversary_section(given, found), options)
