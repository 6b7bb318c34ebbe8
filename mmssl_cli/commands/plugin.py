"""`mmssl plugin`: MMSSL's adversary and contrast in other models (Table 5)."""

from __future__ import annotations

from typing import Annotated

import typer

from mmssl_cli.commands.options import listed
from mmssl_cli.commands.plan_options import PlanOptions, plans_runs
from mmssl_cli.commands.running import carry_out
from mmssl_cli.config import known_model
from mmssl_cli.config.forms import PLUGINS, check_pluggable, plugins_plan


@plans_runs(exclude=("model", "variant", "asl", "cl"))
def plugin(
    *,
    options: PlanOptions,
    models: Annotated[
        list[str] | None,
        typer.Option("--models", metavar="MODEL", help="Models to plug into, separated by commas."),
    ] = None,
    more: Annotated[list[str] | None, typer.Argument(metavar="[MODEL]...", help="More models.")] = None,
) -> None:
    """Plug MMSSL's adversary (ASL) and its contrast (CL) into other models: Table 5.

    Each model is trained alone, with ASL and with CL, with the same settings and seeds otherwise. By default the model
    is slmrec, as in the paper. Finished runs are reused.

    Example: mmssl plugin --dataset tiktok --models slmrec,lattice --runs 5

    Example: mmssl plugin --dataset demo --dry-run
    """
    from pipelines.prepared.manifest import read_manifest

    names = list(dict.fromkeys(map(known_model, [*listed(models), *listed(more)]))) or ["slmrec"]
    for name in names:
        check_pluggable(name)
    options.check(names)
    alone = {name: options.settings(name) for name in names}
    dataset = options.dataset()
    plan = plugins_plan(alone, read_manifest(options.data_dir / dataset).modalities)
    settings = [kinds[kind] for kind in PLUGINS for kinds in plan.values()]
    result = carry_out(options.plan(settings), options)
    found = {name: result.configurations(kinds) for name, kinds in plan.items()}
    plain = next(iter(plan.values()))["plain"]
    kept = {name: kinds for name, kinds in found.items() if kinds}
    from mmssl_cli.studies.plugins import plugins_section  # pandas, once there is something to show

    section = plugins_section(dataset, kept, plain.select_on, options.metrics_of(plain))
    result.present(section, options)
