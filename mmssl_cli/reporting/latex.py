"""Sections and reports as LaTeX that pdflatex sets, with booktabs. Every text ends up as ASCII."""

from __future__ import annotations

import re
import textwrap
import unicodedata

from mmssl_cli.reporting.document import Cell, Missing, Plot, Report, Section, Table
from mmssl_cli.reporting.plain import filled, notes_of, of_words, one_line, sections_of
from mmssl_cli.text import dashed

_PACKAGES = (r"\usepackage{booktabs}", r"\usepackage{graphicx}", r"\usepackage{rotating}")
_HEAD = f"% Needs in the preamble: {''.join(_PACKAGES)}\n"
# What follows, up to a closing brace, is scaled down to the line where it is wider, as far as it can still be read.
_FITTED = r"\resizebox{\ifdim\width>\linewidth\ifdim.6\width>\linewidth.6\width\else\linewidth\fi\else\width\fi}{!}{"
_WORDY, _HEADING = 60, 12  # characters of a line of words, and of a heading
# Characters that a line of the report's page has room for, upright and then turned, in ever smaller type.
_ROOM = (
    (95, "table", ""),
    (118, "table", r"\footnotesize"),
    (135, "table", r"\scriptsize"),
    (160, "sidewaystable", r"\footnotesize"),
)
_WIDEST = ("sidewaystable", r"\scriptsize")

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
    "\N{NO-BREAK SPACE}": r"\,",
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
        *_PACKAGES,
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
    r"""A ``table`` with a booktabs ``tabular`` to ``\input``: the best in bold, the second underlined.

    A wide one is set in smaller type, then turned (a ``sidewaystable``), and at last scaled down to 60 %.
    """
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
    shown = filled(shown)
    heads = [textwrap.wrap(one_line(name), _HEADING, break_long_words=False) for name in shown.columns]
    kinds = [_kind(shown, at) for at in range(len(shown.columns))]
    environment, size = _room(shown, heads)
    rows = [" & ".join(map(_cell, row)) + r" \\" for row in shown.rows]
    body = [
        rf"\begin{{{environment}}}[htbp]",
        rf"  \centering{size}",
        rf"  \caption{{{_caption(shown.title)}}}",
        rf"  \label{{tab:{dashed(shown.name)}}}",
        rf"  {_FITTED}%",
        rf"  \begin{{tabular}}{{{''.join(kinds)}}}",
        r"    \toprule",
        f"    {' & '.join(map(_heading, heads, kinds))} \\\\",
        r"    \midrule",
        *(f"    {row}" for row in rows),
        r"    \bottomrule",
        r"  \end{tabular}}",
        *(rf"  \par\smallskip{{\footnotesize {escape(note)}}}" for note in notes_of(shown, "underlined")),
        rf"\end{{{environment}}}",
    ]
    return "\n".join(body)


def _kind(shown: Table, at: int) -> str:
    """The type of a column: numbers, words, or words that need more than a line."""
    if not of_words(shown, at):
        return "r"
    return "p{27em}" if any(len(row[at].text) > _WORDY for row in shown.rows) else "l"


def _room(shown: Table, heads: list[list[str]]) -> tuple[str, str]:
    """The environment and the size of type in which a table fits a page."""
    width = 0
    for at, lines in enumerate(heads):
        longest = max((len(row[at].text) for row in shown.rows), default=0)
        width += max(min(longest, _WORDY), *map(len, lines), 0) + 2  # with the gap between two columns
    return next(((environment, size) for room, environment, size in _ROOM if width <= room), _WIDEST)


def _heading(lines: list[str], kind: str) -> str:
    text = r"\\".join(map(escape, lines))
    return rf"\shortstack[{'r' if kind == 'r' else 'l'}]{{{text}}}" if len(lines) > 1 else text


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
    size = r"width=\linewidth,height=0.8\textheight,keepaspectratio"
    lines = [
        r"\begin{figure}[htbp]",
        r"  \centering",
        rf"  \includegraphics[{size}]{{figures/{dashed(plot.name)}.pdf}}",
        rf"  \caption{{{_caption(plot.title.rstrip('.'))}. {escape(plot.caption)}}}",
        rf"  \label{{fig:{dashed(plot.name)}}}",
        r"\end{figure}",
    ]
    return "\n".join(lines)


def _missing(missing: Missing) -> str:
    return rf"  \item {escape(missing.what)}: \texttt{{{escape(missing.command)}}}"
