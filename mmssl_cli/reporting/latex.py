"""Sections and reports as LaTeX that pdflatex sets, with booktabs. Every text ends up as ASCII."""

from __future__ import annotations

import re
import textwrap
import unicodedata
from functools import cache

from pylatexenc.latexencode import UnicodeToLatexEncoder

from mmssl_cli.reporting.document import Cell, Missing, Plot, Report, Section, Table
from mmssl_cli.reporting.plain import filled, notes_of, of_words, one_line
from mmssl_cli.text import dashed

_PACKAGES = (r"\usepackage{booktabs}", r"\usepackage{graphicx}", r"\usepackage{rotating}")
_HEAD = f"% Needs in the preamble: {''.join(_PACKAGES)}\n"
# Scales its argument down to the width of the line, to 60 % at most so that it stays readable.
_FITTED = r"\resizebox{\ifdim\width>\linewidth\ifdim.6\width>\linewidth.6\width\else\linewidth\fi\else\width\fi}{!}{"
_WORDY, _HEADING = 60, 12  # characters per line of words, and of a heading
# Characters that fit a line of the page, in ever smaller type, upright and then turned.
_ROOM = (
    (95, "table", ""),
    (118, "table", r"\footnotesize"),
    (135, "table", r"\scriptsize"),
    (160, "sidewaystable", r"\footnotesize"),
)
_WIDEST = ("sidewaystable", r"\scriptsize")

# Written otherwise than pylatexenc does: ASCII that it leaves to ligatures, optional arguments and fonts, and symbols
# for which it takes glyphs of another font (textcomp).
_OWN = {
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "`": r"\textasciigrave{}"},
    **{"[": "{[}", "]": "{]}", "*": "{*}"},  # after \\ and \item they would be arguments
    '"': r"{\ttfamily\char34}",  # straight in every font encoding
    "\N{NO-BREAK SPACE}": r"\,",
    "\N{ZERO WIDTH SPACE}": r"\allowbreak{}",
    **dict(zip("→←↑↓", (rf"$\{side}arrow$" for side in ("right", "left", "up", "down")), strict=True)),
    **{"×": r"$\times$", "·": r"$\cdot$", "√": r"$\surd$", "′": "$'$", "°": r"$^\circ$", "µ": r"$\mu$"},
    **{"¹": "$^1$", "²": "$^2$", "³": "$^3$"},
}
# pylatexenc knows the accents of few alphabets.
_ACCENTS = dict(
    zip("\u0300\u0301\u0302\u0303\u0304\u0306\u0307\u0308\u030a\u030b\u030c\u0327", "`'^~=u.\"rHvc", strict=True)
)
# Commands that pdflatex knows in text and in formulas without further packages; pylatexenc uses those of many.
_TEXT = r"""
\ { } # $ % & _ ae AE oe OE o O l L ss i
textbackslash textasciicircum textasciitilde textendash textemdash textellipsis textsection textparagraph
textquoteleft textquoteright textquotedblleft textquotedblright textdagger textdaggerdbl textbullet
"""
_MATH = """
alpha beta gamma delta varepsilon epsilon zeta eta theta vartheta iota kappa lambda mu nu xi pi varpi rho varrho
sigma varsigma tau upsilon phi varphi chi psi omega
Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega
pm mp times cdot circ star oplus otimes cap cup wedge vee sum prod int partial nabla infty forall exists
leq geq neq approx equiv sim simeq cong propto ll gg in ni subset supset subseteq supseteq perp parallel mid
leftrightarrow Leftarrow Rightarrow Leftrightarrow mapsto Vert langle rangle lfloor rfloor lceil rceil ell
"""
_ENCODER = UnicodeToLatexEncoder(
    replacement_latex_protection="braces-after-macro", unknown_char_policy="keep", unknown_char_warning=False
)


def report(shown: Report) -> str:
    """Return a whole document; figures are included as ``figures/<name>.pdf``."""
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
    blocks = ["\n".join(lines), *map(escape, shown.summary), *map(_section, shown.sections), r"\end{document}"]
    return "\n\n".join(blocks) + "\n"


def section(shown: Section) -> str:
    r"""Return a section to ``\input`` into a document; a comment at its head names the packages it needs."""
    return f"{_HEAD}\n{_section(shown)}\n"


def table(shown: Table) -> str:
    r"""Return a ``table`` with a booktabs ``tabular`` to ``\input``: the best in bold, the second underlined.

    Wide tables are set in smaller type, then turned (a ``sidewaystable``), and at last scaled down to 60 %.
    """
    return f"{_HEAD}{_table(shown)}\n"


def escape(text: str) -> str:
    """Return the text on one line as ASCII that pdflatex sets; unknown characters become their code points."""
    text = re.sub(r"\S{40,}", _breakable, unicodedata.normalize("NFC", one_line(text)))
    return re.sub(r"[-,']{2,}", _no_ligature, "".join(map(_character, text)))


@cache
def _character(character: str) -> str:
    if character in _OWN:
        return _OWN[character]
    letter, *accents = list(unicodedata.normalize("NFD", character))
    if letter.isascii() and len(accents) == 1 and accents[0] in _ACCENTS:
        return rf"\{_ACCENTS[accents[0]]}{{{letter if letter not in 'ij' else chr(92) + letter}}}"
    written = _ENCODER.unicode_to_latex(character)
    formula = re.fullmatch(r"\\ensuremath\{(.*)\}", written)
    commands = re.findall(r"\\([A-Za-z]+|.)", formula[1] if formula else written)
    if written and written.isascii() and set(commands) <= set((_MATH if formula else _TEXT).split()):
        return f"${formula[1]}$" if formula else written
    return f"{{[}}U+{ord(character):04X}{{]}}"


def _breakable(word: re.Match[str]) -> str:
    """Allow line breaks within a hash or a path."""
    return "\N{ZERO WIDTH SPACE}".join(re.findall(".{1,16}", word[0]))


def _no_ligature(run: re.Match[str]) -> str:
    """Keep ``--`` two hyphens, as in flags, rather than a dash."""
    return "{}".join(run[0])


def _section(shown: Section) -> str:
    blocks = [rf"\section{{{escape(shown.title)}}}", *map(escape, shown.text)]
    blocks += [*map(_table, shown.tables), *map(_figure, shown.plots)]
    if shown.missing:
        blocks += [
            "Not available yet:\n\\begin{itemize}\n" + "\n".join(map(_missing, shown.missing)) + "\n\\end{itemize}"
        ]
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
    """Type of a column: numbers, words, or words on several lines."""
    if not of_words(shown, at):
        return "r"
    return "p{27em}" if any(len(row[at].text) > _WORDY for row in shown.rows) else "l"


def _room(shown: Table, heads: list[list[str]]) -> tuple[str, str]:
    """Environment and type size in which a table fits a page."""
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
    """Title without its own ``Table 3.``, for LaTeX numbers tables and figures itself."""
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
