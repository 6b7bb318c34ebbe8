"""Sentences of the warnings after a preparation."""

from __future__ import annotations

from pipelines.prepared.manifest import RECORDS, Manifest
from pipelines.text import pluralize


def losses(manifest: Manifest, *, own_k_core: bool) -> list[str]:
    """Return a sentence on each thing that was left out, or read in a way that may not be meant.

    Args:
        own_k_core: the k-core was asked for: what it removes is no surprise.
    """
    found = []
    for name, facts in manifest.settings.get(RECORDS, {}).items():
        left_out = facts.get("left_out", {})
        if left_out:
            why = ", ".join(f"{reason}: {count:,}" for reason, count in left_out.items())
            found.append(f"{name}: {sum(left_out.values()):,} of {facts['read']:,} rows left out ({why})")
        file = name.rpartition("=")[2]
        found += [note if note.startswith(f"{file}: ") else f"{name}: {note}" for note in facts.get("notes", ())]
    for name, modality in manifest.modalities.items():
        if without := manifest.counts.items - modality.present:
            found.append(f"{name}: {without:,} of {pluralize(manifest.counts.items, 'item')} without content")
    if not own_k_core:
        found += _removed_by_k_core(manifest)
    return found


def _removed_by_k_core(manifest: Manifest) -> list[str]:
    for before, step in zip(manifest.steps, manifest.steps[1:], strict=False):
        if step.name.endswith("-core") and step.interactions < before.interactions:
            return [
                f"{step.name}, the default: {step.users:,} of {pluralize(before.users, 'user')} and {step.items:,} of "
                f"{pluralize(before.items, 'item')} are kept; k_core=1 keeps all"
            ]
    return []
