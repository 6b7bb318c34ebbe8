"""The same values in Markdown, LaTeX, CSV, on the terminal and as files: marks, digits, and titles that mean harm."""

from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from mmssl_cli.console.sections import show_section
from mmssl_cli.console.tables import rich_table
from mmssl_cli.reporting import html, latex, markdown, tabular
from mmssl_cli.reporting.document import (
    Cell,
    Missing,
    Report,
    Section,
    Table,
    interval,
    mean_of,
    number,
    percent,
    with_marks,
    word,
)
from mmssl_cli.reporting.plain import filled, of_words, one_line
from mmssl_cli.reporting.writing import write_report, write_section
from mmssl_cli.text import dashed
from tests.helpers import sample_report
from tests.helpers.sample_report import NASTY, NASTY_LINE

TEXTS = st.text(st.characters(codec="utf-8") | st.sampled_from("\\`*_{}[]<>|#~$&\"'^%-+=@.\n\x1b"), max_size=40)


def _table(*rows: tuple[Cell, ...], labels: int = 1) -> Table:
    return Table("name", "Title", tuple(f"c{at}" for at in range(len(rows[0]))), rows, labels)


# -- every format -----------------------------------------------------------------------------------------------------


@given(st.text(max_size=30))
def test_a_line_is_one_line_that_any_file_can_hold(text: str) -> None:
    line = one_line(text + "\ud800\x00")
    assert len(line.splitlines()) == 1
    assert not re.search(r"[\x00-\x1f\x7f-\x9f]", line)
    assert line.encode().decode() == line == one_line(line)


def test_names_of_files_are_small_letters_digits_and_dashes() -> None:
    assert dashed("Table 3: ../Ablation_on TikTok") == "table-3-ablation-on-tiktok"
    assert dashed("中") == "unnamed"


def test_a_column_of_words_is_aligned_left_wherever_it_stands() -> None:
    rows = ((word("a"), number(0.5), word("a source"), number(None)), (word("b"), number(None), word(""), number(-1)))
    table = _table(*rows)
    assert [of_words(table, at) for at in range(4)] == [True, False, True, False]
    assert r"\begin{tabular}{lrlr}" in latex.table(table)
    assert "| --- | -----: | -------- | ------: |" in markdown.table(table)
    console = Console(file=io.StringIO(), width=200)
    console.print(rich_table(table))
    assert "a    0.5000   a source         -" in console.file.getvalue()  # type: ignore[attr-defined]


def test_columns_in_which_no_row_has_anything_are_in_the_files_for_programs_alone() -> None:
    rows = ((word("a"), word(""), number(None), number(0.5)), (word("b"), word(""), word(""), number(None)))
    table = Table("t", "T", ("Model", "Note", "p", "Recall@20"), rows, labels=2)
    console = Console(file=io.StringIO(), width=200)
    console.print(rich_table(table))
    page = html.page(Report("R", (), (Section("s", "S", tables=(table,)),)))
    assert re.findall(r"<th scope=.col.*?>(.*?)</th>", page) == ["Model", "Recall@20"]
    assert markdown.table(table).splitlines()[2] == "| Model | Recall@20 |"
    assert r"    Model & Recall@20 \\" in latex.table(table)
    assert console.file.getvalue().splitlines()[1].split() == ["Model", "Recall@20"]  # type: ignore[attr-defined]
    assert tabular.table(table).splitlines()[0] == "Model,Note,p,Recall@20"
    assert filled(table).labels == 1
    nothing = _table((word(""), number(None)))
    assert filled(nothing) == nothing


def test_a_column_is_marked_where_at_least_two_rows_have_a_value() -> None:
    rows = [[word("a"), number(0.5), number(0.1), number(None)], [word("b"), number(None), number(0.3), number(None)]]
    marked = with_marks([*rows, [word("c"), word(""), number(0.2), number(None)]], (1, 2, 3))
    assert [[cell.mark for cell in row] for row in marked] == [
        ["", "", "", ""],
        ["", "", "best", ""],
        ["", "", "second", ""],
    ]
    same = with_marks([[number(0.1), number(0.0)], [number(0.1), number(0.0)], [number(0.05), number(0.0)]], (0, 1))
    assert [[cell.mark for cell in row] for row in same] == [["best", ""], ["best", ""], ["second", ""]]


def test_a_percentage_is_not_broken_over_lines() -> None:
    text = percent(0.089).text
    assert text == "+8.9\u00a0%"
    assert one_line(f"a \n {text}") == markdown.escape(f"a {text}") == f"a {text}"
    assert tabular.table(_table((word("a"), percent(0.089)))).splitlines()[1] == "a,0.089"


# -- Markdown ---------------------------------------------------------------------------------------------------------


def test_markdown_pads_columns_and_marks_the_best_and_the_second() -> None:
    table = _table((word("a"), Cell("0.3", 0.3, mark="best")), (word("bcde"), Cell("0.25", 0.25, mark="second")))
    assert markdown.table(table).splitlines() == [
        "**Title**",
        "",
        "| c0   |      c1 |",
        "| ---- | ------: |",
        "| a    | **0.3** |",
        "| bcde |  *0.25* |",
        "",
        "Bold is the best of a column, italic the second.",
    ]


@given(TEXTS)
def test_markdown_shows_any_text_as_it_is(text: str) -> None:
    escaped = markdown.escape(text)
    # Each special sign stands behind a backslash of its own, and taking those away gives the line back.
    assert re.fullmatch(r"(\\[\\`*_{}\[\]<>|#~$&]|[^\\`*_{}\[\]<>|#~$&])*", escaped)
    assert re.sub(r"\\(.)", r"\1", escaped) == one_line(text)


@pytest.mark.parametrize("text", ["- a", "+ a", "1. a", "12) a", "---", "= a"])
def test_a_paragraph_of_markdown_begins_no_list_and_no_rule(text: str) -> None:
    block = markdown.paragraph(text)
    assert not re.match(r"([-+=]|\d+[.)])", block)
    assert block.replace("\\", "") == text


@given(TEXTS)
def test_a_code_span_ends_where_its_text_does(text: str) -> None:
    span = markdown.code(f"a{text}")
    fence = re.match("`+", span)[0]  # type: ignore[index]
    inner = span[len(fence) : -len(fence)]
    assert span.endswith(fence)
    assert fence not in re.findall("`+", inner)
    assert inner.strip() == one_line(f"a{text}")


def test_a_report_in_markdown_keeps_harmful_titles_in_their_place() -> None:
    text = markdown.report(sample_report.report())
    outside = re.sub(r"(`+)(?:(?!\1).)+?\1(?!`)", "", text)  # code spans may hold anything
    assert not re.search(r"(?<!\\)<", outside)
    assert not re.search(r"(?<!\\)\$", outside)
    assert "](javascript" not in outside.replace("\\](javascript", "")
    rows = [line for line in text.splitlines() if line.startswith("|") and "script" in line]
    assert [len(re.findall(r"(?<!\\)\|", row)) for row in rows] == [3, 3]
    assert "![Recall@20 against layers.](figures/figure4-layers.svg)" in text
    assert "``mmssl `a` <script>" in text  # the command, whole
    assert "- Table 4: `mmssl sparsity --dataset tiktok`" in text


# -- LaTeX ------------------------------------------------------------------------------------------------------------


def test_latex_sets_a_table_with_booktabs_and_marks() -> None:
    rows = (
        (word("w/o-ASL & co"), Cell("0.3 ± 0.1", 0.3, 0.1, "best"), number(-0.5)),
        (word("[x"), Cell("0.25", 0.25, mark="second"), Cell("3e-13", 3e-13)),
    )
    table = Table("t-1", "Table 3. Ablation on a_b", ("Model", "Recall@20", "p"), rows, notes=("100 %",))
    assert latex.table(table).splitlines() == [
        r"% Needs in the preamble: \usepackage{booktabs}\usepackage{graphicx}\usepackage{rotating}",
        r"\begin{table}[htbp]",
        r"  \centering",
        r"  \caption{Ablation on a\_b}",
        r"  \label{tab:t-1}",
        r"  \resizebox{\ifdim\width>\linewidth\ifdim.6\width>\linewidth.6\width\else\linewidth\fi\else\width\fi}{!}{%",
        r"  \begin{tabular}{lrr}",
        r"    \toprule",
        r"    Model & Recall@20 & p \\",
        r"    \midrule",
        r"    w/o-ASL \& co & \textbf{0.3 $\pm$ 0.1} & $-$0.5000 \\",
        r"    {[}x & \underline{0.25} & $3 \cdot 10^{-13}$ \\",
        r"    \bottomrule",
        r"  \end{tabular}}",
        r"  \par\smallskip{\footnotesize Bold is the best of a column, underlined the second.}",
        r"  \par\smallskip{\footnotesize 100 \%}",
        r"\end{table}",
    ]


def test_latex_specials_are_what_they_look_like() -> None:
    assert latex.escape("\\{}#$%&_^~<>|`*[]") == (
        r"\textbackslash{}\{\}\#\$\%\&\_\textasciicircum{}\textasciitilde{}\textless{}\textgreater{}\textbar{}"
        r"\textasciigrave{}{*}{[}{]}"
    )
    assert latex.escape("\\input{x}") == r"\textbackslash{}input\{x\}"
    assert latex.escape("± × − → λ₁ τ′ Ω 10⁻³") == (
        r"$\pm$ $\times$ $-$ $\rightarrow$ $\lambda$$_1$ $\tau$$'$ $\Omega$ 10$^-$$^3$"
    )
    assert latex.escape("é Ł ñ ï ç e\u0301 – “a”") == (
        r"\'{e} \L{} \~{n} \"{\i} \c{c} \'{e} \textendash{} \textquotedblleft{}a\textquotedblright{}"
    )
    assert latex.escape("∂ ≲ € Ж") == r"$\partial$ {[}U+2272{]} {[}U+20AC{]} {[}U+0416{]}"  # three need a package
    assert latex.escape(percent(-0.041).text) == r"-4.1\,\%"
    assert latex.escape("--dry-run 中") == "-{}-dry-run {[}U+4E2D{]}"
    assert latex.escape("9f" * 20) == "9f" * 8 + r"\allowbreak{}" + "9f" * 8 + r"\allowbreak{}" + "9f" * 4


@given(TEXTS)
def test_latex_of_any_text_is_ascii_with_balanced_braces_and_known_commands(text: str) -> None:
    escaped = latex.escape(text)
    assert escaped.isascii()
    known = r"text[a-z]+|allowbreak|dots|ttfamily|char|[a-zA-Z]+"
    bare = re.sub(rf"\\([\\{{}}#$%&_,]|{known}|[`'^~=.\"])", "", escaped)
    assert bare.count("{") == bare.count("}")
    assert "\\" not in bare
    outside = re.sub(r"\$[^$]*\$", "", bare)
    assert not set("#$%&_^~<>|") & set(outside)


def _wide(columns: int) -> Table:
    """A table with a column of words and this many columns of 15 characters and a gap of 2."""
    rows = ((word("mmssl"), *(mean_of([0.1, 0.2]) for _ in range(columns))),)
    heads = tuple(f"Recall@{at} difference" for at in range(columns))
    return Table(f"wide-{columns}", "Wide", ("Model", *heads), rows)


def test_latex_sets_wide_tables_in_smaller_type_and_then_turns_them() -> None:
    sizes = []
    for columns in (4, 6, 7, 8, 12):
        text = latex.table(_wide(columns))
        (environment,) = re.findall(r"^\\begin{(\w+)}", text, re.MULTILINE)
        assert rf"\end{{{environment}}}" in text
        sizes.append((environment, re.findall(r"\\centering(.*)", text)[0]))
    assert sizes == [
        ("table", ""),
        ("table", r"\footnotesize"),
        ("table", r"\scriptsize"),
        ("sidewaystable", r"\footnotesize"),
        ("sidewaystable", r"\scriptsize"),
    ]
    assert r"Model & \shortstack[r]{Recall@0\\difference} & " in latex.table(_wide(4))


def test_latex_breaks_the_lines_of_long_words() -> None:
    assert r"\begin{tabular}{lp{27em}r}" in latex.table(
        _table((word("a"), word("word " * 30), number(0.5)), (word("b"), word("short"), number(0.5)), labels=2)
    )


@pytest.mark.skipif(
    shutil.which("pdflatex") is None, reason="pdflatex is not installed (Debian: texlive-latex-recommended)"
)
def test_pdflatex_sets_the_report_and_a_section(tmp_path: Path) -> None:
    write_report(sample_report.report(), tmp_path)
    write_section(sample_report.report().sections[2], tmp_path)
    (tmp_path / "paper.tex").write_text(
        "\\documentclass{article}\\usepackage{booktabs}\\usepackage{graphicx}\\usepackage{rotating}\n"
        "\\begin{document}\\tableofcontents\\input{harm}\\input{wide}\\end{document}"
    )
    (tmp_path / "wide.tex").write_text("\n".join(latex.table(_wide(columns)) for columns in (4, 8, 20)))
    for name in ("report.tex", "paper.tex"):
        done = subprocess.run(
            ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", name],
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-2000:]
        assert "Missing character" not in done.stdout
    if shutil.which("pdftotext"):
        shown = subprocess.run(
            ["pdftotext", "-layout", "report.pdf", "-"], cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout
        assert r"\input{/etc/passwd} \write18{id}" in " ".join(shown.split())
        assert "root:" not in shown


# -- CSV --------------------------------------------------------------------------------------------------------------


def test_csv_has_whole_numbers_deviations_and_no_marks() -> None:
    third = 1 / 3
    rows = (
        (word("a"), Cell("0.3333 ± 0.1000", third, 0.1, "best"), number(7046.0, ",.0f")),
        (word("b"), Cell("0.5000", 0.5), number(None)),
    )
    table = Table("t", "T", ("Model", "Recall@20", "Users"), rows)
    assert tabular.table(table) == (f"Model,Recall@20,Recall@20 deviation,Users\na,{third!r},0.1,7046\nb,0.5,,\n")


def test_an_interval_is_two_numbers_in_files() -> None:
    rows = ((word("a"), interval(-0.01149, 0.0087)), (word("b"), interval(None, None)))
    table = Table("t", "T", ("Model", "95 % interval"), rows)
    assert rows[0][1].text == "-0.0115 to 0.0087"
    assert tabular.table(table) == "Model,95 % interval low,95 % interval high\na,-0.01149,0.0087\nb,,\n"
    assert tabular.columns(table)["95 % interval high"].tolist()[0] == 0.0087


@given(st.lists(st.tuples(TEXTS, st.none() | st.floats(allow_nan=False)), min_size=1, max_size=4))
def test_csv_reads_back_and_is_no_formula(rows: list[tuple[str, float | None]]) -> None:
    table = _table(*((word(text), Cell("-" if value is None else str(value), value)) for text, value in rows))
    read = list(csv.reader(io.StringIO(tabular.table(table))))
    assert read[0] == ["c0", "c1"]
    for (text, value), (name, field) in zip(rows, read[1:], strict=True):
        assert not name.startswith(("=", "+", "-", "@"))
        line = "" if one_line(text) == "-" and text == "-" else one_line(text)
        assert name == (f"'{line}" if line.startswith(("=", "+", "-", "@")) else line)
        assert (field == "") if value is None else (float(field) == value)


def test_csv_of_a_figure_is_its_data(tmp_path: Path) -> None:
    data = pd.DataFrame({"=model": ["mmssl", "=1+1", None], "at": [1, 2, 3], "mean": [0.1, float("nan"), -1 / 3]})
    path = tmp_path / "figure.csv"
    path.write_text(tabular.frame(data))

    read = pd.read_csv(path)
    assert list(read) == ["'=model", "at", "mean"]
    assert list(read["'=model"].fillna("")) == ["mmssl", "'=1+1", ""]
    assert list(read["at"]) == [1, 2, 3]
    pd.testing.assert_series_equal(read["mean"], data["mean"])


# -- the terminal -----------------------------------------------------------------------------------------------------


def test_a_terminal_shows_marks_as_bold_and_underlined() -> None:
    console = Console(file=io.StringIO(), width=200, force_terminal=True, color_system="standard", _environ={})
    table = _table((word("[b]a[/b]"), Cell("0.3", mark="best"), Cell("0.2", mark="second"), Cell("0.1")))
    console.print(rich_table(table))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "\x1b[1m0.3" in text
    assert "\x1b[4m0.2" in text
    assert "m0.1" not in text
    assert "[b]a[/b]" in text


def test_a_section_in_a_pipe_is_whole(capsys: pytest.CaptureFixture[str]) -> None:
    command = f"mmssl sweep --data-dir {'x' * 300} --runs 3"
    section = Section(
        "s", "Layers", ("word " * 60, NASTY), (sample_report.comparison(),), (), (Missing("Figure 4", command),)
    )

    show_section(section)

    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Layers"
    assert ("word " * 60).strip() in lines
    assert NASTY_LINE in lines
    assert f"  {command}" in lines
    assert lines[-2] == "- Figure 4"
    (ours,) = (line for line in lines if line.startswith("mmssl, here"))
    assert ours.split()[-6:] == ["0.1020", "0.0051", "0.0443", "0.0510", "0.1700", "20.2"]
    assert "\x1b" not in "".join(lines)
