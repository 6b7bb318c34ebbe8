"""Table 1: the prepared data sets beside the paper's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmssl_cli.reporting.document import Cell, Section, Table, number, word

_COLUMNS = ("Data set", "Source", "Modalities", "Counted", "Users", "Items", "Interactions", "Sparsity, %")


def datasets_section(records: Sequence[Mapping[str, Any]]) -> Section:
    """Build Table 1.

    Args:
        records: as ``mmssl datasets --json`` gives them; data sets that are not prepared are left out.
    """
    ready = [record for record in records if record["status"] == "prepared"]
    rows = [row for record in ready for row in _rows(record)]
    tables = (
        Table(
            "table1-datasets",
            "Data sets (the paper's Table 1)",
            _COLUMNS,
            tuple(rows),
            labels=4,
            notes=(
                "Interactions are counted as the paper counts those of each data set. What encoded the features is in "
                "the manifest.",
            ),
        ),
    )
    return Section("datasets", "Data sets", (), tables if rows else ())


def _rows(record: Mapping[str, Any]) -> list[tuple[Cell, ...]]:
    paper = record["paper"]
    counting = paper["counting"] if paper else "all"
    ours = _row(record["name"], "here", record, record["interactions"][counting], counting, record["sparsity_percent"])
    if not paper:
        return [ours]
    return [ours, _row(record["name"], "paper", paper, paper["interactions"], counting, paper["sparsity"])]


def _row(
    name: str, source: str, facts: Mapping[str, Any], interactions: int, counting: str, sparsity: float
) -> tuple[Cell, ...]:
    modalities = ", ".join(f"{modality} {dim}" for modality, dim in facts["modalities"].items()) or "none"
    return (
        word(name),
        word(source),
        word(modalities),
        word(counting),
        number(facts["users"], ",.0f"),
        number(facts["items"], ",.0f"),
        number(interactions, ",.0f"),
        number(sparsity, ".3f"),
    )
