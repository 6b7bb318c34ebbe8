"""`mmssl sweep`: effect of settings on the test metrics, one at a time or as a grid (Figure 4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mmssl_cli.commands.options import place_flags
from mmssl_cli.commands.plan_options import PlanOptions, plans_runs
from mmssl_cli.commands.running import carry_out
from mmssl_cli.config import TrainSettings, known_model, settings_class
from mmssl_cli.text import ACCURACY
from pipelines.errors import UsageError, nearest

if TYPE_CHECKING:
    from mmssl_cli.studies.sweep.points import Line


@plans_runs(takes_name=True)
def sweep(
    *,
    options: PlanOptions,
    param: Annotated[
        list[str] | None,
        typer.Option(
            "--param",
            metavar="NAME=VALUE,...",
            help="A setting and the values to try; may be repeated. By default those of the paper's Figure "
            "4. The paper's symbols are names too: L, d, zeta, lambda_1, tau, tau'.",
        ),
    ] = None,
    grid: Annotated[
        bool, typer.Option("--grid", help="Try every combination of the values, not one setting at a time.")
    ] = False,
    baseline: Annotated[
        str | None,
        typer.Option(
            "--baseline",
            metavar="MODEL",
            help="A model to train at each value too, such as the paper's lattice for d; by default the best finished "
            "baseline is drawn.",
        ),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            "--metric",
            metavar="METRIC",
            help="Metric: plotted on test; on validation it selects the value. By default --select-on.",
        ),
    ] = None,
) -> None:
    """Train with several values of one or more settings, and show the effect on the test metrics (Figure 4).

    The other settings are those of `mmssl train`: this reference is a point of every line. Finished runs are reused.
    The best baseline is drawn beside them: each other model's finished settings with the most seeds (ties: the best on
    validation), then the model best on validation. Where it has runs at several values, these are drawn.

    Example: mmssl sweep --dataset demo --param layers=1,2 --param zeta=0,1

    Example: mmssl sweep --dataset demo --param d=16,32 --baseline lattice --dry-run

    Example: mmssl sweep --dataset demo --param layers=1,2 --param eta=0.5,1 --grid --runs 2
    """
    from mmssl_cli.runs.results import configuration_of
    from mmssl_cli.studies.run_selection import configurations_on_same_data
    from mmssl_cli.studies.sweep.points import lines_of, parse, runs_of

    if grid and not param:
        raise UsageError("--grid tries every combination of the values that --param gives; give at least two of them.")
    reference = options.settings(prepared=False)
    lines = lines_of(reference, parse(param or (), reference), grid=grid)
    metric = _measured(metric or reference.select_on, reference)
    rivals = _lines_of_baseline(baseline, lines, options, grid)
    if baseline is not None:
        options.check_folder([reference.model, known_model(baseline)])
    options.settings()  # check the data set once the values are valid
    plan = runs_of(lines, options.runs)
    plan |= {f"{baseline}: {name}": run for name, run in runs_of(rivals, options.runs).items()}
    result = carry_out(plan, options)
    others, problems = configurations_on_same_data(reference, options.data_dir, options.runs_dir)
    if rivals:
        points = {configuration_of(point.settings): point.settings for one in rivals for point in one.points}
        others = [found for one in points.values() if (found := result.configuration(one)) is not None]
    places = place_flags(options.data_dir, options.runs_dir)
    from mmssl_cli.studies.sweep.section import sweep_section  # pandas, once there is something to show

    section = sweep_section(lines, result.configuration, others, metric, problems=problems, places=places)
    result.present(section, options)


def _lines_of_baseline(name: str | None, lines: list[Line], options: PlanOptions, grid: bool) -> list[Line]:
    """Return the lines of a baseline over the parameters that it has; none without a name.

    Raises:
        UsageError: it has none of them, is the swept model itself, or a grid is asked for.
    """
    if name is None:
        return []
    model, swept = known_model(name), lines[0].points[0].settings.model
    fields = settings_class(model).model_fields
    values = {one.parameters[0]: [point.values[0] for point in one.points] for one in lines}
    shared = {parameter: of for parameter, of in values.items() if parameter in fields}
    if grid or model == swept or not shared:
        names = ", ".join(parameter.replace("_", "-") for parameter in values)
        reason = "a grid has no place for it" if grid else f"it has no setting {names}"
        raise UsageError(f"--baseline {name}: {'it is the swept model itself' if model == swept else reason}.")
    from mmssl_cli.studies.sweep.points import lines_of

    return lines_of(options.settings(model, prepared=False), shared)


def _measured(metric: str, reference: TrainSettings) -> str:
    known = [f"{name}@{k}" for name in ACCURACY for k in reference.all_ks]
    if metric not in known:
        ks = ",".join(map(str, reference.all_ks))
        raise UsageError(f"--metric {metric!r} is not measured with --ks {ks}: {nearest(metric, known)}")
    if (name := metric.partition("@")[0]) not in reference.all_metrics:
        raise UsageError(f"--metric {metric!r} is not measured by default: add --metrics {name}.")
    return metric
