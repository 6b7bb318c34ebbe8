"""`mmssl sparsity`: accuracy for users and items with few interactions (Table 4, Fig. 1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from mmssl_cli.commands.options import listed
from mmssl_cli.commands.plan_options import PlanOptions, plans_runs
from mmssl_cli.commands.running import carry_out
from mmssl_cli.config import SETTINGS, VARIANTS, TrainSettings, known_model, settings_class
from mmssl_cli.config.own_names import is_own
from mmssl_cli.experiments.plan import RunIndex, over_seeds
from mmssl_cli.text import DEFAULT_METRIC, companion
from pipelines.errors import UsageError, nearest

#: Compared by default even without finished runs; other models only with some.
USUAL = ("mmssl", "lightgcn")


@plans_runs(exclude=("model", "variant"))
def sparsity(
    *,
    options: PlanOptions,
    runs_of: Annotated[
        list[str] | None,
        typer.Option(
            "--models",
            "--runs-of",
            metavar="MODEL",
            help="Models to compare, separated by commas, a variant as mmssl:w/o-CL; by default mmssl, lightgcn and "
            "all that have runs.",
        ),
    ] = None,
    models: Annotated[list[str] | None, typer.Argument(metavar="[MODEL]...", help="More models.")] = None,
    buckets: Annotated[
        str | None,
        typer.Option(
            metavar="<int,...>",
            help="Edges of the buckets of users' training items; by default the paper's for amazon-baby and "
            "allrecipes, else quantiles.",
        ),
    ] = None,
    metric: Annotated[str, typer.Option(metavar="NAME@K", help="Test metric to compare, e.g. recall@20.")] = companion(
        DEFAULT_METRIC
    ),
) -> None:
    """Compare models by the training degree of users (Table 4, Fig. 1a) and of items (Fig. 1b, c).

    Finished runs are reused; only missing ones are trained. If mmssl is among the models, it is compared with each of
    the others.

    Example: mmssl sparsity --dataset tiktok --models mmssl,lightgcn

    Example: mmssl sparsity --dataset demo --buckets 0,4,6,100 --metric recall@20 --out results
    """
    names = list(dict.fromkeys([*listed(runs_of), *listed(models)]))
    plan = _settings(names, options)
    from mmssl_cli.evaluation.sparsity import parse_buckets  # NumPy, once the models are right
    from mmssl_cli.studies.sparsity.checks import accuracy_metric, check_before_training

    wanted = accuracy_metric(metric)
    edges = None if buckets is None else parse_buckets(buckets)
    check_before_training(plan, options.data_dir, wanted, edges)
    result = carry_out(options.plan(plan), options)
    from mmssl_cli.reporting.document import Section  # PyTorch and pandas, once there is something to show
    from mmssl_cli.studies.sparsity.section import sparsity as section_of

    found = [configuration for settings in plan if (configuration := result.configuration(settings)) is not None]
    if found:
        section = section_of(found, options.data_dir, metric=wanted, buckets=edges)
    else:
        section = Section(
            "sparsity", f"Sparse users and items of {plan[0].dataset}", ("No run of this plan succeeded.",)
        )
    result.present(section, options)


def _settings(names: Sequence[str], options: PlanOptions) -> list[TrainSettings]:
    """Return the settings of each compared model, with the first seed."""
    if names:
        options.check([_split(name)[0] for name in names])
        return [_one(name, options) for name in names]
    plan = {name: options.settings(name) for name in SETTINGS}
    index = RunIndex(options.runs_dir)
    kept = [
        name
        for name, settings in plan.items()
        if name in USUAL
        or any(index.find(run, options.data_dir).run is not None for run in over_seeds(settings, options.runs))
    ]
    options.check(kept)
    return [plan[name] for name in kept]


def _split(name: str) -> tuple[str, str]:
    model, _, variant = (name, "", "") if is_own(name) else name.partition(":")
    return known_model(model), variant


def _one(name: str, options: PlanOptions) -> TrainSettings:
    """Return the settings of a model by its name, ``lightgcn`` or ``mmssl:w/o-CL``."""
    model, variant = _split(name)
    if not variant:
        return options.settings(model)
    if "variant" not in settings_class(model).model_fields:
        raise UsageError(f"Model {model!r} has no variants; write {model} instead of {name!r}.")
    if variant not in VARIANTS:
        raise UsageError(f"There is no variant {variant!r} of {model}: {nearest(variant, VARIANTS)}")
    return options.settings(model, variant=variant)
