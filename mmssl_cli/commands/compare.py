"""`mmssl compare`: many models on one data set, one split, one evaluation (Table 2)."""

from __future__ import annotations

from typing import Annotated

import typer

from mmssl_cli.commands.chosen_models import chosen_models, without_idle_content
from mmssl_cli.commands.options import listed
from mmssl_cli.commands.plan_options import PlanOptions, plans_runs
from mmssl_cli.commands.running import carry_out
from mmssl_cli.config import known_model
from mmssl_cli.console.lines import warn
from pipelines.errors import UsageError, nearest


@plans_runs(exclude=("model", "variant"))
def compare(
    *,
    options: PlanOptions,
    models: Annotated[
        list[str] | None,
        typer.Option("--models", metavar="MODEL", help="Models to compare, separated by commas; or all, the default."),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            "--reference", metavar="MODEL", help="Model to test against the others; by default the best on validation."
        ),
    ] = None,
    more: Annotated[list[str] | None, typer.Argument(metavar="[MODEL]...", help="More models.")] = None,
) -> None:
    """Compare models on one data set, beside published numbers: Table 2, with tests and costs.

    One model is tested against each of the others: differences with 95 % intervals, p-values, also corrected for
    multiple testing.

    Each model has the settings shipped for it and the data set, else its defaults; a flag or a preset applies to
    every model that has it, a --config file that names a model only to that one; from a --config folder each takes
    the file that `mmssl tune` wrote. Finished runs are reused, interrupted ones resumed, the rest trained.

    Example: mmssl compare --dataset tiktok --models all --runs 5

    Example: mmssl compare --dataset demo --models mmssl,lightgcn,mf --jobs 2 --out results

    Example: mmssl compare --dataset demo --models mf,lightgcn --reference mf --metrics recall,mrr,coverage
    """
    names, are_all = chosen_models([*listed(models), *listed(more)])
    options.check(names)
    plan = {name: options.settings(name) for name in names}
    if are_all:
        plan = without_idle_content(plan, options.data_dir)
    if reference is not None and (reference := known_model(reference)) not in plan:
        raise UsageError(f"--reference {reference!r} is none of the compared models: {nearest(reference, plan)}")
    result = carry_out(options.plan(plan.values()), options)
    from mmssl_cli.studies.comparison import comparison_section  # pandas, once there is something to show
    from mmssl_cli.studies.run_selection import validation

    found = result.configurations(plan)
    first = next(iter(plan.values()))
    tested = reference is None or reference in found
    if not tested:
        warn(f"No run of --reference {reference} is finished, so the tests against it are left out.")
    against = None if reference is None else found.get(reference)
    compared = sorted(found.values(), key=validation)
    selecting = first.select_on.partition("@")[0]
    named = first.metrics if "metrics" in options.named else dict.fromkeys((selecting, *first.metrics))
    ks = options.cutoffs_of(first)
    section = comparison_section(first.dataset, compared, ks, list(named), against, tested=tested)
    result.present(section, options)
