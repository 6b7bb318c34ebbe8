"""`mmssl plugin`: MMSSL's adversary and contrast in other models (Table 5)."""

from __future__ import annotations

from typing import Annotated

import typer

from mmssl_cli.commands.options import listed
from mmssl_cli.commands.plan_options import PlanOptions, plans_runs
from mmssl_cli.commands.running import carry_out
from mmssl_cli.config import SETTINGS, known_model, settings_class
from mmssl_cli.config.fit import check_content
from pipelines.errors import UsageError

#: Of models of content over a graph that take no plug-in for another reason than the usual one.
_REASONS = {
    "mmssl": "has both by itself",
    **dict.fromkeys(("grcn", "pgl"), "ranks by all modalities side by side, embeddings wider than those of one"),
    **dict.fromkeys(("mmhcl", "damrs"), "compares items by raw content, and has no learnt projection of it"),
    "mmgcn": "has layers of content of another size than its embeddings",
    "diffmm": "trains its denoisers where the discriminator would be trained",
}


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
    from mmssl_cli.studies.plugins import PLUGINS, plugin_settings, plugins_section
    from pipelines.prepared.manifest import read_manifest

    names = list(dict.fromkeys(map(known_model, [*listed(models), *listed(more)]))) or ["slmrec"]
    for name in names:
        check_pluggable(name)
    options.check(names)
    plan = {name: plugin_settings(options.settings(name)) for name in names}
    dataset = options.dataset()
    used = read_manifest(options.data_dir / dataset).modalities
    for kinds in plan.values():
        first = next(iter(kinds.values()))
        check_content(first, dataset, used if first.modalities is None else first.modalities)
    settings = [kinds[kind] for kind in PLUGINS for kinds in plan.values()]
    result = carry_out(options.plan(settings), options)
    found = {name: result.configurations(kinds) for name, kinds in plan.items()}
    plain = next(iter(plan.values()))["plain"]
    kept = {name: kinds for name, kinds in found.items() if kinds}
    section = plugins_section(dataset, kept, plain.select_on, options.metrics_of(plain))
    result.present(section, options)


def check_pluggable(model: str) -> None:
    """Refuse a model that has no place for the plug-ins.

    Raises:
        UsageError: it is such a model, or there is no model of the name.
    """
    if "asl" in settings_class(model).model_fields:
        return
    able = ", ".join(name for name, cls in SETTINGS.items() if "asl" in cls.model_fields)
    without = "has no projection of each modality to the size of its embeddings, over a graph of interactions"
    reason = _REASONS.get(model, without)
    raise UsageError(f"Nothing can be plugged into {model!r}: it {reason}. Choose among {able}.")
