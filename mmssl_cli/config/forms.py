"""Settings of what a study compares: variants of MMSSL, controls of the features, plug-ins, hyperparameters."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from mmssl_cli.config.classes import SETTINGS, settings_class
from mmssl_cli.config.fit import check_content
from mmssl_cli.config.merging import build_settings
from mmssl_cli.config.mmssl import VARIANTS
from mmssl_cli.config.train import RUNTIME_FIELDS, TrainSettings
from pipelines.errors import UsageError, nearest

#: Kind of features -> the settings that make it; the first is the data set's own.
CONTROLS: dict[str, dict[str, object]] = {
    "real": {"feature_control": "none"},
    "shuffled": {"feature_control": "shuffled"},
    "noise": {"feature_control": "noise"},
    "none": {"modalities": ()},
}
#: Plug-in -> the settings that make it; the first is the model alone.
PLUGINS: dict[str, dict[str, bool]] = {
    "plain": {"asl": False, "cl": False},
    "+ASL": {"asl": True, "cl": False},
    "+CL": {"asl": False, "cl": True},
}
#: Of models of content over a graph that take no plug-in for another reason than the usual one.
_NOT_PLUGGABLE = {
    "mmssl": "has both by itself",
    **dict.fromkeys(("grcn", "pgl"), "ranks by all modalities side by side, embeddings wider than those of one"),
    **dict.fromkeys(("mmhcl", "damrs"), "compares items by raw content, and has no learnt projection of it"),
    "mmgcn": "has layers of content of another size than its embeddings",
    "diffmm": "trains its denoisers where the discriminator would be trained",
}
#: Settings that are not hyperparameters, with the reason or the flag that varies them.
ELSEWHERE: dict[str, str] = {
    "model": "give it as --model",
    "dataset": "give it as --dataset",
    "seed": "--runs N trains N seeds of every value",
    "preset": "give it as --preset",
    **dict.fromkeys(("item_epochs", *RUNTIME_FIELDS), "it does not change what is computed"),
    "metrics": "it only says what is shown; give it as --metrics",
    "ks": "it only says what is measured; give it as --ks",
    "select_on": "it only says what selects the epoch; give it as --select-on",
}


def variant_settings(settings: TrainSettings, variant: str) -> TrainSettings:
    """Return the same settings with another variant."""
    return build_settings({**settings.model_dump(), "variant": variant})


def chosen_variants(names: Collection[str]) -> list[str]:
    """Return the variants of an ablation in the order of ``VARIANTS``: the full model and those named, or all.

    Raises:
        UsageError: there is no such variant.
    """
    if unknown := [name for name in names if name not in VARIANTS]:
        raise UsageError(f"There is no variant {unknown[0]!r}: {nearest(str(unknown[0]), VARIANTS)}")
    return [name for name in VARIANTS if name == "full" or name in names or not names]


def check_ablation(full: TrainSettings, modalities: Collection[str]) -> None:
    """Check that variants of MMSSL have something to leave out: ``modalities`` are those of the data set.

    Raises:
        UsageError: the settings or the data set have no modalities.
    """
    if full.modalities == ():
        raise UsageError("The variants change parts that work on modalities: leave out --modalities none.")
    if not modalities:
        raise UsageError(
            f"The variants change parts that work on modalities, and data set {full.dataset!r} has none; choose a data "
            "set with features, or prepare it with some."
        )


def controls_plan(
    models: Mapping[str, TrainSettings], modalities: Collection[str]
) -> dict[str, dict[str, TrainSettings]]:
    """Return model -> kind of features -> settings; ``modalities`` are those of the data set.

    Raises:
        UsageError: a model uses no features, or there are none.
    """
    for name, real in models.items():
        if real.modalities == ():
            raise UsageError("The controls change the features of the items: leave out --modalities none.")
        if not real.uses_content and not real.needs_content:
            raise UsageError(f"Model {name!r} uses no item features to control; choose a model that does.")
        if not modalities:
            raise UsageError(
                f"Data set {real.dataset!r} has no item features to control; choose one that has, such as demo or "
                "tiktok."
            )
        check_content(real, real.dataset, modalities)
    return {name: control_settings(real) for name, real in models.items()}


def control_settings(real: TrainSettings) -> dict[str, TrainSettings]:
    """Return the settings of each kind of features; without ``none`` for a model that needs features."""
    kinds = {kind: more for kind, more in CONTROLS.items() if kind != "none" or not real.needs_content}
    return {kind: build_settings({**real.model_dump(), **more}) for kind, more in kinds.items()}


def check_pluggable(model: str) -> None:
    """Refuse a model that has no place for the plug-ins.

    Raises:
        UsageError: it is such a model, or there is no model of the name.
    """
    if "asl" in settings_class(model).model_fields:
        return
    able = ", ".join(name for name, cls in SETTINGS.items() if "asl" in cls.model_fields)
    without = "has no projection of each modality to the size of its embeddings, over a graph of interactions"
    reason = _NOT_PLUGGABLE.get(model, without)
    raise UsageError(f"Nothing can be plugged into {model!r}: it {reason}. Choose among {able}.")


def plugins_plan(
    models: Mapping[str, TrainSettings], modalities: Collection[str]
) -> dict[str, dict[str, TrainSettings]]:
    """Return model -> plug-in -> settings; ``modalities`` are those of the data set.

    Raises:
        UsageError: there are no features for the plug-ins.
    """
    plan = {name: plugin_settings(one) for name, one in models.items()}
    for kinds in plan.values():
        plain = kinds["plain"]
        check_content(plain, plain.dataset, modalities if plain.modalities is None else plain.modalities)
    return plan


def plugin_settings(settings: TrainSettings) -> dict[str, TrainSettings]:
    """Return the settings of a model alone and with each plug-in."""
    return {name: build_settings({**settings.model_dump(), **more}) for name, more in PLUGINS.items()}
