"""`mmssl compare`: many models on one data set, one split, one evaluation (Table 2)."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from mmssl_cli.commands.options import listed
from mmssl_cli.commands.plan_options import PlanOptions, plans_runs
from mmssl_cli.commands.running import carry_out
from mmssl_cli.config import SETTINGS, known_model, settings_class
from mmssl_cli.console.lines import warn
from pipelines.errors import UsageError, nearest

ALL = "all"


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

    One model is tested against each of the others: differences with 95 % intervals, p-values, and these corrected for
    the number of tests.

    Each model has the settings shipped for it and the data set, else its defaults; a flag or a preset applies to
    every model that has it, a --config file that names a model to this one alone. Finished runs are reused,
    interrupted ones resumed, the rest trained.

    Example: mmssl compare --dataset tiktok --models all --runs 5

    Example: mmssl compare --dataset demo --models mmssl,lightgcn,mf --jobs 2 --out results

    Example: mmssl compare --dataset demo --models mf,lightgcn --reference mf --metrics recall,mrr,coverage
    """
    from mmssl_cli.studies.comparison import comparison_section
    from mmssl_cli.studies.run_selection import validation

    names = _chosen([*listed(models), *listed(more)])
    options.check(names or list(SETTINGS))
    plan = {name: options.settings(name) for name in names or SETTINGS}
    if not names:
        plan = _with_content(plan, options.data_dir)
    if reference is not None and (reference := known_model(reference)) not in plan:
        raise UsageError(f"--reference {reference!r} is none of the compared models: {nearest(reference, plan)}")
    result = carry_out(options.plan(plan.values()), options)
    found = {name: one for name, settings in plan.items() if (one := result.configuration(settings)) is not None}
    first = next(iter(plan.values()))
    k = int(first.select_on.partition("@")[2])
    tested = reference is None or reference in found
    if not tested:
        warn(f"No run of --reference {reference} is finished, so that the tests against it are left out.")
    against = None if reference is None else found.get(reference)
    compared = sorted(found.values(), key=validation)
    section = comparison_section(first.dataset, compared, k, first.metrics, against, tested=tested)
    result.present(section, options)


def _chosen(names: list[str]) -> list[str]:
    """Return the named models, each once; none for all of them."""
    names = [ALL if name.casefold() == ALL else name for name in names]
    if ALL in names and len(names) > 1:
        raise UsageError(f"--models {ALL} holds every model; leave out the others, or {ALL}.")
    if ALL in names:
        return []
    names = list(dict.fromkeys(map(known_model, names)))
    for name in names:
        settings_class(name)
    return names


def _with_content(plan: dict[str, Any], data_dir: Any) -> dict[str, Any]:
    """Leave out the models that need item features if there are none."""
    from pipelines.prepared.manifest import read_manifest

    settings = next(iter(plan.values()))
    chosen = settings.modalities
    has_content = bool(read_manifest(data_dir / settings.dataset).modalities) and chosen != ()
    left_out = [name for name, one in plan.items() if one.needs_content and not has_content]
    if left_out:
        print(f"Left out, as the data set has no item features: {', '.join(left_out)}", file=sys.stderr)
    return {name: one for name, one in plan.items() if name not in left_out}
