"""One look for every figure: size, grid and type, and one colour, line and marker per model.

Labels are plain text: ``$`` begins no formula, so that any title can be drawn. Greek letters and indices are written
as they are: ``λ₁``, ``τ′``.
"""

from __future__ import annotations

import io
import re
import warnings
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import Formatter, LogFormatter

from pipelines.io.files import write_bytes

#: Width of a column of a two-column page and of the gap between columns, in inches.
COLUMN, GAP = 3.4, 0.2

# Okabe and Ito's colours for colour-blind readers, with grey in place of yellow, which is too light on white paper.
PALETTE = {
    "blue": "#0072B2",
    "vermilion": "#D55E00",
    "green": "#009E73",
    "purple": "#CC79A7",
    "orange": "#E69F00",
    "sky": "#56B4E9",
    "black": "#000000",
    "grey": "#8C8C8C",
}
_LINES: dict[str, Any] = {"solid": "-", "dashed": "--", "dotted": ":", "dashdot": "-.", "long": (0, (8, 2))}
_MARKERS = "osD^v<>pXP*hd"

# Models often drawn together differ in colour, the others at least in line and marker.
_LOOKS = {
    "mmssl": ("blue", "solid", "o"),
    "mmssl (w/o-asl)": ("orange", "long", "D"),
    "mmssl (w/o-cl)": ("green", "dashdot", "^"),
    "mmssl (w/o-gt)": ("purple", "dotted", "v"),
    "mmssl (r/p-gae)": ("sky", "dashed", "P"),
    "mf": ("black", "dotted", "X"),
    "ngcf": ("grey", "dashdot", "v"),
    "lightgcn": ("vermilion", "dashed", "s"),
    "sgl": ("green", "long", "^"),
    "ncl": ("purple", "dotted", "D"),
    "hccf": ("orange", "dashdot", "P"),
    "vbpr": ("grey", "dotted", "p"),
    "lightgcn-m": ("vermilion", "dotted", "h"),
    "mmgcn": ("sky", "dashdot", "<"),
    "grcn": ("orange", "dashdot", ">"),
    "lattice": ("green", "dashed", "*"),
    "clcrec": ("black", "dashdot", "d"),
    "mmgcl": ("black", "long", "h"),
    "slmrec": ("purple", "long", "P"),
    "bm3": ("sky", "dashed", "p"),
    "freedom": ("grey", "long", "X"),
    "mgcn": ("grey", "dashed", "*"),
    "mmhcl": ("vermilion", "long", "v"),
    "smore": ("green", "dotted", "d"),
    "damrs": ("orange", "dashed", "X"),
    "diffmm": ("purple", "dashdot", "*"),
    "lgmrec": ("sky", "long", "h"),
    "pgl": ("black", "dashed", "<"),
    "gume": ("green", "dashdot", "p"),
}
_SAME = {"mf-bpr": "mf", "bpr-mf": "mf", "mmssl (full)": "mmssl"}

_DEFAULTS: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Helvetica", "Arial", "sans-serif"],
    "font.size": 8,
    "text.parse_math": False,
    "axes.titlesize": 8.5,
    "axes.titlelocation": "left",
    "axes.labelsize": 8,
    "axes.edgecolor": "#555555",
    "axes.linewidth": 0.7,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "xtick.color": "#333333",
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "ytick.color": "#333333",
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "lines.linewidth": 1.5,
    "lines.markersize": 4.5,
    "patch.linewidth": 0.5,
    "hatch.linewidth": 0.5,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}


def figure(width_columns: float = 1, height: float = 2.4) -> Figure:
    """Return an empty figure in our look, which axes, legends and texts added to it follow. Sets matplotlib's defaults.

    Args:
        width_columns: width in columns of a two-column page (3.4 inches each).
        height: in inches.
    """
    mpl.rcParams.update(_DEFAULTS)
    return Figure(figsize=(COLUMN * width_columns + GAP * (width_columns - 1), height), layout="constrained")


def colour(label: str) -> str:
    """Return ``#RRGGBB`` of a model, the same in every figure; that of an unknown label depends on its text alone."""
    return PALETTE[_look(label)[0]]


def line_style(label: str) -> Any:
    """Return the line of a model as matplotlib's ``linestyle``."""
    return _LINES[_look(label)[1]]


def marker(label: str) -> str:
    """Return the marker of a model as matplotlib's ``marker``."""
    return _look(label)[2]


def band(
    axes: Axes,
    x: Sequence[float],
    mean: Sequence[float],
    low: Sequence[float] | None,
    high: Sequence[float] | None,
    label: str,
    *,
    markers: bool = True,
) -> Artist:
    """Draw a model's line with its markers, and the band between ``low`` and ``high`` if both are given.

    Returns:
        The line.
    """
    shown = marker(label) if markers or len(x) == 1 else ""
    (line,) = axes.plot(x, mean, color=colour(label), linestyle=line_style(label), marker=shown, label=label)
    if low is not None and high is not None:
        axes.fill_between(x, low, high, color=colour(label), alpha=0.18, linewidth=0)
    return line


def save(drawn: Figure, path: Path) -> Path:
    """Write a figure as .svg, .pdf or .png atomically. The same figure gives the same bytes.

    Raises:
        InputError: the file cannot be written.
    """
    write_bytes(path, _rendered(drawn, path.suffix.removeprefix("."), path.stem))
    return path


def svg(drawn: Figure, name: str = "figure", description: str = "") -> str:
    """Return a figure as an ``<svg>`` element for an HTML page, as ``inlined`` does for its file."""
    return inlined(_rendered(drawn, "svg", name).decode(), name, description)


def inlined(text: str, name: str, description: str = "") -> str:
    """Return an SVG file of ours as an ``<svg>`` element for an HTML page; text stays text.

    It affects nothing outside: no declaration, no metadata, no style sheet, and every id begins with ``name``, so that
    figures of one page do not share clip paths and markers.

    Args:
        text: content of the file.
        name: small letters, digits and dashes; unique on the page.
        description: text for readers who cannot see the figure.
    """
    for prefix, address in _NAMESPACES.items():
        ElementTree.register_namespace(prefix, address)
    root = ElementTree.fromstring(text)
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.endswith(("}metadata", "}style")):
                parent.remove(child)
    root.set("role", "img")
    root.set("aria-label", description or name)
    width = float(root.attrib.pop("width").removesuffix("pt"))
    del root.attrib["height"]  # as high as the view box makes it
    # As wide as there is room, within the limits of being read.
    size = f"min-width: {0.75 * width:.0f}pt; max-width: {1.3 * width:.0f}pt"
    root.set("style", f"{size}; stroke-linejoin: round; stroke-linecap: butt")
    for element in root.iter():
        for key, value in element.attrib.items():
            element.set(key, _own_ids(key, value, name))
    return ElementTree.tostring(root, encoding="unicode")


_NAMESPACES = {"": "http://www.w3.org/2000/svg", "xlink": "http://www.w3.org/1999/xlink"}


def _own_ids(key: str, value: str, name: str) -> str:
    if key == "id":
        return f"{name}-{value}"
    if key.endswith("href"):
        return re.sub(r"^#", f"#{name}-", value)
    return re.sub(r"url\(#", f"url(#{name}-", value)


def _look(label: str) -> tuple[str, str, str]:
    text = " ".join(label.casefold().split())
    text = _SAME.get(text, text)
    if text in _LOOKS:
        return _LOOKS[text]
    # `lightgcn (seed 3)` keeps the colour of its model; the rest comes from the text, the same in every process.
    number = zlib.crc32(text.encode())
    model = re.split(r"[ (,:\[]", text, maxsplit=1)[0]
    hue = _LOOKS[_SAME.get(model, model)][0] if _SAME.get(model, model) in _LOOKS else list(PALETTE)[number % 8]
    return hue, list(_LINES)[number // 8 % len(_LINES)], _MARKERS[number // 64 % len(_MARKERS)]


def _rendered(drawn: Figure, form: str, salt: str) -> bytes:
    _plain_log_labels(drawn)
    # No date, and ids made from a fixed salt. Text stays text in SVG and PDF.
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(form)
    written = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": salt, "svg.fonttype": "none", "pdf.fonttype": 42}), warnings.catch_warnings():
        # A title in a script that the font lacks, or one longer than the figure, is no news to who asked for it.
        warnings.filterwarnings("ignore", "Glyph|constrained_layout not applied", UserWarning)
        drawn.savefig(written, format=form, dpi=200, metadata=metadata)
    drawn.set_layout_engine("none")  # the other forms have the layout of the first
    data = written.getvalue()
    if form == "svg":
        data = re.sub(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]", b"", data)  # no XML has them, a title may
    return data


def _plain_log_labels(drawn: Figure) -> None:
    """Write powers of ten as text (10⁻³), in place of matplotlib's formulas, which are not parsed here."""
    for axes in drawn.axes:
        for axis in (axes.xaxis, axes.yaxis):
            for formatter in (axis.get_major_formatter(), axis.get_minor_formatter()):
                if isinstance(formatter, LogFormatter) and "format_ticks" not in vars(formatter):
                    vars(formatter)["format_ticks"] = _plain_ticks(formatter)


def _plain_ticks(formatter: Formatter) -> Callable[[list[float]], list[str]]:
    written = formatter.format_ticks
    return lambda values: [_without_formula(text) for text in written(values)]


def _without_formula(text: str) -> str:
    text = re.sub(r"\$|\\mathdefault", "", text).replace(r"\times", "×")
    text = re.sub(r"\^\{([-−\d]+)\}", lambda power: power[1].translate(_RAISED), text)
    return re.sub(r"[{}\\]", "", text)


_RAISED = str.maketrans("0123456789-−", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁻")
