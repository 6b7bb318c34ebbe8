"""Sections and reports as LaTeX that pdflatex sets, with booktabs. Every text ends up as ASCII."""

from __future__ import annotations

import re
import unicodedata

from mmssl_cli.reporting.document import Cell, Missing, Plot, Report, Section, Table
from mmssl_cli.reporting.plain import notes_of, of_words, one_line, sections_of
from mmssl_cli.wording import dashed

_HEAD = "% Needs \\usepackage{booktabs} and \\usepackage{graphicx} in the preamble.\n"
# What follows, up to a closing brace, is scaled down to the line where it is wider.
_FITTED = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{"
_WORDY = 40  # characters; a table of words with longer cells breaks their lines

_GREEK = """
alpha beta gamma delta varepsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon varphi chi
psi omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega
"""
_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "#": r"\#",
    "$": r"\$",
    "%": r"\%",
    "&": r"\&",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "`": r"\textasciigrave{}",
    "[": "{[}",  # after \\ and \item, [ and * would be arguments
    "]": "{]}",
    "*": "{*}",
    '"': r"{\ttfamily\char34}",  # straight in every font encoding
    "±": r"$\pm$",
    "×": r"$\times$",
    "−": "$-$",
    "·": r"$\cdot$",
    "→": r"$\rightarrow$",
    "←": r"$\leftarrow$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "≈": r"$\approx$",
    "≠": r"$\neq$",
    "∞": r"$\infty$",
    "√": r"$\surd$",
    "∑": r"$\sum$",
    "∈": r"$\in$",
    "′": r"$'$",
    "‖": r"$\|$",
    "°": r"$^\circ$",
    "µ": r"$\mu$",
    "–": r"\textendash{}",
    "—": r"\textemdash{}",
    "\N{ZERO WIDTH SPACE}": r"\allowbreak{}",
    "…": r"\dots{}",
    "‘": "`",
    "’": "'",
    "“": r"\textquotedblleft{}",
    "”": r"\textquotedblright{}",
    "§": r"\S{}",
    "ß": r"\ss{}",
    "æ": r"\ae{}",
    "Æ": r"\AE{}",
    "ø": r"\o{}",
    "Ø": r"\O{}",
    "œ": r"\oe{}",
    "Œ": r"\OE{}",
    "ł": r"\l{}",
    "Ł": r"\L{}",
    "ı": r"\i{}",
    **{digit: f"$_{at}$" for at, digit in enumerate("₀₁₂₃₄₅₆₇₈₉")},
    **{digit: f"$^{at}$" for at, digit in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")},
    "⁻": "$^-$",
    **{letter: f"$\\{name}$" for letter, name in zip("αβγδεζηθικλμνξπρστυφχψωΓΔΘΛΞΠΣΦΨΩ", _GREEK.split(), strict=True)},
}
_ACCENTS = {
    "\u0300": "`",
    "\u0301": "'",
    "\u0302": "^",
    "\u0303": "~",
    "\u0304": "=",
    "\u0306": "u",
    "\u0307": ".",
    "\u0308": '"',
    "\u030a": "r",
    "\u030b": "H",
    "\u030c": "v",
    "\u0327": "c",
}


def report(shown: Report) -> str:
    """A document of its own; figures are included as ``figures/<name>.pdf``."""
    lines = [
        r"\documentclass{article}",
        r"\usepackage[margin=2.2cm]{geometry}",
        r"\usepackage{booktabs}",
        r"\usepackage{graphicx}",
        rf"\title{{{escape(shown.title)}}}",
        rf"\author{{}}\date{{{escape(shown.created)}}}",
        r"\begin{document}",
        r"\sloppy",
        r"\maketitle",
    ]
    blocks = ["\n".join(lines), *map(escape, shown.summary), *map(_section, sections_of(shown)), r"\end{document}"]
    return "\n\n".join(blocks) + "\n"


def section(shown: Section) -> str:
    r"""A section to ``\input`` into a document; the packages it needs are named in a comment at its head."""
    return f"{_HEAD}\n{_section(shown)}\n"


def table(shown: Table) -> str:
    r"""A ``table`` with a booktabs ``tabular`` to ``\input``: the best in bold, the second underlined."""
    return f"{_HEAD}{_table(shown)}\n"


def escape(text: str) -> str:
    """Text on one line that pdflatex shows as it is; a character that it does not know becomes its code point."""
    text = re.sub(r"\S{40,}", _breakable, unicodedata.normalize("NFC", one_line(text)))
    return re.sub(r"[-,']{2,}", _no_ligature, "".join(map(_character, text)))


def _character(character: str) -> str:
    if character in _SPECIAL:
        return _SPECIAL[character]
    if character.isascii():
        return character
    parts = unicodedata.normalize("NFD", character)
    if len(parts) == 2 and parts[0].isascii() and parts[1] in _ACCENTS:
        letter = {"i": r"\i", "j": r"\j"}.get(parts[0], parts[0])
        return rf"\{_ACCENTS[parts[1]]}{{{letter}}}"
    return f"{{[}}U+{ord(character):04X}{{]}}"


def _breakable(word: re.Match[str]) -> str:
    """A hash or a path, with places where a line may end."""
    return "\N{ZERO WIDTH SPACE}".join(re.findall(".{1,16}", word[0]))


def _no_ligature(run: re.Match[str]) -> str:
    """``--`` stays two hyphens, as flags have them, and is not set as a dash."""
    return "{}".join(run[0])


def _section(shown: Section) -> str:
    blocks = [rf"\section{{{escape(shown.title)}}}", *map(escape, shown.text)]
    blocks += [*map(_table, shown.tables), *map(_figure, shown.plots)]
    if shown.missing:
        blocks += ["Not there yet:\n\\begin{itemize}\n" + "\n".join(map(_missing, shown.missing)) + "\n\\end{itemize}"]
    return "\n\n".join(blocks)


def _table(shown: Table) -> str:
    rows = [" & ".join(map(_cell, row)) + r" \\" for row in shown.rows]
    body = [
        r"\begin{table}[htbp]",
        r"  \centering",
        rf"  \caption{{{_caption(shown.title)}}}",
        rf"  \label{{tab:{dashed(shown.name)}}}",
        rf"  {_FITTED}%",
        rf"  \begin{{tabular}}{{{_columns(shown)}}}",
        r"    \toprule",
        f"    {' & '.join(map(escape, shown.columns))} \\\\",
        r"    \midrule",
        *(f"    {row}" for row in rows),
        r"    \bottomrule",
        r"  \end{tabular}}",
        *(rf"  \par\smallskip{{\footnotesize {escape(note)}}}" for note in notes_of(shown, "underlined")),
        r"\end{table}",
    ]
    return "\n".join(body)


def _columns(shown: Table) -> str:
    wordy = any(len(cell.text) > _WORDY for row in shown.rows for cell in row)
    if wordy and shown.labels == len(shown.columns):
        return rf"p{{{0.94 / shown.labels:.3f}\linewidth}}" * shown.labels
    return "".join("l" if of_words(shown, at) else "r" for at in range(len(shown.columns)))


def _cell(cell: Cell) -> str:
    text = escape(cell.text)
    if cell.value is not None:  # minus signs rather than hyphens, powers of ten as such
        text = re.sub(r"([\d.]+)e([+-])0*(\d+)", lambda m: f"${m[1]} \\cdot 10^{{{m[2].strip('+')}{m[3]}}}$", text)
        text = re.sub(r"^-", "$-$", text)
    return {"best": rf"\textbf{{{text}}}", "second": rf"\underline{{{text}}}", "": text}[cell.mark]


def _caption(title: str) -> str:
    """Without its own ``Table 3.``: LaTeX counts tables and figures itself."""
    return escape(re.sub(r"^(Table|Figure|Fig\.)\s+\w+[.:]\s+", "", title))


def _figure(plot: Plot) -> str:
    lines = [
        r"\begin{figure}[htbp]",
        r"  \centering",
        rf"  {_FITTED}\includegraphics{{figures/{dashed(plot.name)}.pdf}}}}",
        rf"  \caption{{{_caption(plot.title.rstrip('.'))}. {escape(plot.caption)}}}",
        rf"  \label{{fig:{dashed(plot.name)}}}",
        r"\end{figure}",
    ]
    return "\n".join(lines)


def _missing(missing: Missing) -> str:
    return rf"  \item {escape(missing.what)}: \texttt{{{escape(missing.command)}}}"
