"""A sample report: realistic numbers, two figures, missing results, and titles that try to break every format."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from mmssl_cli.reporting import style
from mmssl_cli.reporting.document import (
    Cell,
    Missing,
    Plot,
    Report,
    Section,
    Table,
    mean_of,
    number,
    p_value,
    percent,
    with_marks,
    word,
)

#: A hostile title of a data set, with special characters of every format.
NASTY = (
    "<script>alert(1)</script> ]]> $x$ \\input{/etc/passwd} \\write18{id} | `code` *b* _i_ [l](javascript:x) "
    "<img src=x onerror=alert(1)> &amp; % # ~ ^ {} \" ' -- é Ł λ₁ 中 ± × − →\n\n- item\x1b[31m\x00"
)
#: The same on one line, as shown to a reader.
NASTY_LINE = " ".join(NASTY.replace("\x1b", " ").replace("\x00", " ").split())

VARIANTS = ("mmssl", "mmssl (w/o-ASL)", "mmssl (w/o-CL)", "mmssl (w/o-GT)", "mmssl (r/p-GAE)")


def ablation() -> Table:
    rows = []
    for at, name in enumerate(VARIANTS):
        scores = [[0.1094 - 0.004 * at + seed / 1e3, 0.0468 - 0.002 * at + seed / 2e3] for seed in range(3)]
        recall, ndcg = (mean_of([score[column] for score in scores]) for column in (0, 1))
        rows.append([word(name), recall, ndcg, percent(-0.041 * at if at else None), p_value(3e-13 if at else None)])
    head = ("Model", "Recall@20", "NDCG@20", "Difference", "p")
    notes = ("Mean ± sample standard deviation over seeds 2023, 2024 and 2025.",)
    return Table("table3-ablation-tiktok", "Table 3. Ablation on tiktok", head, with_marks(rows, (1, 2)), notes=notes)


def comparison() -> Table:
    names = ("MF-BPR", "NGCF", "LightGCN", "SGL", "VBPR", "LATTICE", "MMGCN", "SLMRec", "MMSSL", "mmssl, here")
    head = ("Model", "Source", "Recall@20", "Precision@20", "NDCG@20", "Recall@10", "Recall@50", "Seconds an epoch")
    rows = []
    for at, name in enumerate(names):
        scores = [number((0.03 + 0.008 * at) / by) for by in (1, 20, 2.3, 2, 0.6)]
        seconds = number(20.25 if at == 9 else None, ".1f")
        rows.append([word(name), word("MMSSL (WWW 2023) table 2"), *scores, seconds])
    marked = with_marks(rows, (2, 3, 4))
    return Table("table2-tiktok", "Table 2. Comparison on tiktok", head, marked, labels=2)


def harmful() -> Table:
    rows = (
        (word(NASTY), Cell("0.1", 0.1, mark="best")),
        (word("=cmd|' /C calc'!A1"), number(-0.5)),
        (word("*"), number(None)),
    )
    return Table("harmful", f"Titles {NASTY}", ("Title [1]", f"Share {NASTY}"), rows, notes=(NASTY,))


def provenance() -> Table:
    rows = (
        (word("Manifest of the data set"), word("sha256 " + "9f" * 32)),
        (
            word("Hardware"),
            word("2 CPU cores, 8 GiB of memory; no accelerator; Python 3.11.2, torch 2.11.0, numpy 2.0"),
        ),
    )
    return Table("provenance", "Where the numbers come from", ("What", "Value"), rows, labels=2)


def layers(harm: str = "") -> Plot:
    data = pd.DataFrame(
        [
            {"model": model, "layers": at, "mean": 0.1 + 0.002 * at * sign, "low": 0.098, "high": 0.112, "note": harm}
            for model, sign in (("mmssl", 1), ("lightgcn", -1))
            for at in (1, 2, 3, 4)
        ]
    )

    def draw() -> Figure:
        figure = style.figure()
        axes = figure.subplots()
        for model, rows in data.groupby("model", sort=False):
            x, mean = rows["layers"], rows["mean"]
            style.band(axes, x, mean, mean - 0.002, mean + 0.002, str(model))
        axes.set(xlabel="layers", ylabel=f"Recall@20 {harm}".strip(), xticks=[1, 2, 3, 4])
        axes.legend()
        return figure

    return Plot("figure4-layers", f"Figure 4. Layers {harm}", f"Recall@20 against layers. {harm}", draw, data)


def costs() -> Plot:
    data = pd.DataFrame({"interactions": [1e3, 1e4, 1e5], "mmssl": [0.01, 0.12, 1.3], "lightgcn": [0.002, 0.02, 0.25]})

    def draw() -> Figure:
        figure = style.figure(2, 2.6)
        left, right = figure.subplots(1, 2)
        for name in ("mmssl", "lightgcn"):
            style.band(left, data["interactions"], data[name], None, None, name)
            right.bar([name], data[name].iloc[-1:], color=style.colour(name))
        left.set(xscale="log", yscale="log", xlabel="interactions", ylabel="seconds an epoch")
        right.set(ylabel="seconds an epoch, all data")
        left.legend()
        return figure

    return Plot("cost", "Cost against data", "Seconds of an epoch grow with the interactions.", draw, data)


def section() -> Section:
    missing = (
        Missing("NDCG@20 of `mmssl` with 3 layers", "mmssl sweep --param layers=1,2,3,4 --runs 3 --dataset tiktok"),
    )
    text = ("The full model leads its variants.", "- A paragraph may begin with a dash; it costs < 1 % & no more.")
    return Section("ablation", "What each part adds", text, (ablation(), comparison()), (layers(),), missing)


def report() -> Report:
    """Five sections with five tables and two figures."""
    return Report(
        "Evaluation of mmssl on tiktok",
        ("Every number is of a run in this folder.",),
        (
            section(),
            Section("cost", "What it costs", ("An epoch's time.",), plots=(costs(),)),
            Section("harm", f"Harm {NASTY}", (NASTY,), (harmful(),), missing=(Missing(NASTY, f"mmssl `a` {NASTY}"),)),
            Section("provenance", "Provenance", tables=(provenance(),)),
            Section("missing", "What is missing", missing=(Missing("Table 4", "mmssl sparsity --dataset tiktok"),)),
        ),
        created="23 November 2026, 17:05",
    )
