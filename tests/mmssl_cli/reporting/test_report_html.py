"""The page of a report: its words come back as they were, it asks for nothing, and a browser shows it well."""

from __future__ import annotations

import functools
import itertools
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mmssl_cli.reporting import html
from mmssl_cli.reporting.document import Report, Section, Table, word
from mmssl_cli.reporting.plain import notes_of, one_line
from tests.helpers import sample_report
from tests.helpers.sample_report import NASTY, NASTY_LINE

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed (Debian: apt install chromium)")
VOID = {"meta", "link", "br"}


class Reader(HTMLParser):
    """Every element with its attributes, and the text within."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, list[str]]] = []
        self.open: list[tuple[str, list[str]]] = []
        self.feed(page)
        self.close()
        assert not self.open, f"never closed: {[tag for tag, _ in self.open]}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append((tag, []))
            self.texts.append(self.open[-1])

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        opened, _ = self.open.pop()
        assert opened == tag, f"<{opened}> ended by </{tag}>"

    def handle_data(self, data: str) -> None:
        for _, texts in self.open:
            texts.append(data)

    def text(self, *tags: str) -> list[str]:
        return ["".join(texts) for tag, texts in self.texts if tag in tags]


@pytest.fixture(scope="module")
def page() -> str:
    return html.page(sample_report.report())


def test_every_word_and_number_comes_back_as_it_was(page: str) -> None:
    reader, report = Reader(page), sample_report.report()
    tables = [table for section in report.sections for table in section.tables]

    cells = [one_line(name) for table in tables for name in table.columns]
    cells += [one_line(cell.text) for table in tables for row in table.rows for cell in row]
    assert sorted(reader.text("th", "td")) == sorted(cells)
    titles = [section.title for section in report.sections] + ["Contents"]
    assert sorted(reader.text("h2")) == sorted(map(one_line, titles))
    texts = [*report.summary, report.created, *(text for section in report.sections for text in section.text)]
    texts += [note for table in tables for note in notes_of(table, "underlined")]
    assert sorted(reader.text("p")) == sorted(map(one_line, texts))
    commands = [missing.command for section in report.sections for missing in section.missing]
    assert reader.text("code") == [*map(one_line, commands)]
    assert reader.text("title") == reader.text("h1") == [report.title]


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=30), min_size=4, max_size=4))
def test_any_text_comes_back(texts: list[str]) -> None:
    title, heading, cell, paragraph = texts
    table = Table("t", title, (heading,), ((word(cell),),), notes=(paragraph,))
    reader = Reader(html.page(Report(title, (paragraph,), (Section("s", heading, (paragraph,), (table,)),))))
    assert reader.text("title", "h1", "h3") == [one_line(title)] * 3
    assert reader.text("th") == [one_line(heading), one_line(cell)]
    assert reader.text("p") == [one_line(paragraph)] * 3


def test_the_best_is_bold_and_the_second_underlined(page: str) -> None:
    reader = Reader(page)
    assert reader.text("strong")[:2] == ["0.1104 ± 0.0010", "0.0473 ± 0.0005"]
    assert reader.text("u")[:2] == ["0.1064 ± 0.0010", "0.0453 ± 0.0005"]


def test_the_page_needs_nothing_but_itself(page: str) -> None:
    reader = Reader(page)
    tags = {tag for tag, _ in reader.elements}
    assert not tags & {
        "script",
        "img",
        "image",
        "iframe",
        "object",
        "embed",
        "base",
        "form",
        "video",
        "audio",
        "foreignobject",
    }
    for tag, attributes in reader.elements:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            assert name not in {"src", "srcset", "action", "data", "poster", "background"}
            if name in {"href", "xlink:href"}:
                assert str(value).startswith("#") or value == "data:,"
            assert not re.search(r"url\((?!#)", str(value)) or NASTY_LINE in str(value)
    (style_sheet,) = reader.text("style")
    assert "url(" not in style_sheet
    assert "@import" not in style_sheet
    policy = {
        "http-equiv": "Content-Security-Policy",
        "content": "default-src 'none'; style-src 'unsafe-inline'; img-src data:",
    }
    assert ("meta", policy) in reader.elements


def test_anchors_lead_somewhere_and_no_id_is_there_twice(page: str) -> None:
    reader = Reader(page)
    ids = [attributes["id"] for _, attributes in reader.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = [attributes["href"] for tag, attributes in reader.elements if tag == "a"]
    assert {str(link).removeprefix("#") for link in links} <= set(ids)
    assert "#table-of-table3-ablation-tiktok" in links
    assert "#figure-of-cost" in links
    named = [
        value for _, attributes in reader.elements for name, value in attributes.items() if name == "aria-labelledby"
    ]
    assert named
    assert set(named) <= set(ids)


def test_the_page_can_be_read_aloud(page: str) -> None:
    reader = Reader(page)
    assert ("html", {"lang": "en"}) in reader.elements
    heads = [attributes for tag, attributes in reader.elements if tag == "th"]
    assert {head.get("scope") for head in heads} == {"col", "row"}
    images = [attributes for tag, attributes in reader.elements if tag == "svg"]
    assert [(image["role"], image["aria-label"]) for image in images] == [
        ("img", "Recall@20 against layers."),
        ("img", "Seconds of an epoch grow with the interactions."),
    ]
    levels = [int(tag[1]) for tag, _ in reader.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_the_same_report_gives_the_same_page(page: str) -> None:
    assert html.page(sample_report.report()) == page


# -- in a browser -----------------------------------------------------------------------------------------------------


@dataclass
class Browser:
    """Headless Chromium, and a server of a folder that remembers what was asked for."""

    folder: Path
    address: str
    asked: list[str] = field(default_factory=list)

    def open(self, name: str, *flags: str, size: tuple[int, int] = (1400, 3000)) -> tuple[str, str]:
        """The document as it stands after loading, and what the console said."""
        done = subprocess.run(
            [
                str(CHROMIUM),
                *("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-dev-shm-usage"),
                *("--enable-logging=stderr", "--v=0", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"),
                *("--no-first-run", "--disable-background-networking", "--disable-component-update"),
                f"--user-data-dir={self.folder.parent / 'profile'}",
                f"--window-size={size[0]},{size[1]}",
                *flags,
                f"{self.address}/{name}",
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=120,
            check=True,
        )
        return done.stdout, "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)

    def measured(self, width: int, *flags: str) -> dict[str, Any]:
        """Measure the page in a frame of a width in pixels; the page itself runs no script."""
        (self.folder / "frame.html").write_text(_FRAME.replace("WIDTH", str(width)))
        dom, console = self.open("frame.html", "--dump-dom", *flags)
        assert console == ""
        found = re.search(r"<pre>(.*)</pre>", dom, re.DOTALL)
        assert found, dom
        return json.loads(found[1])


_FRAME = """<!doctype html><link rel="icon" href="data:,"><body style="margin:0">
<iframe src="index.html" style="width:WIDTHpx;height:6000px;border:0"></iframe><script>
onload = () => {
  const view = document.querySelector("iframe").contentWindow, page = view.document
  const box = e => { const b = e.getBoundingClientRect(); return [b.x, b.y, b.width, b.height] }
  const colour = e => view.getComputedStyle(e).backgroundColor
  const all = (selector, of) => [...page.querySelectorAll(selector)].map(of)
  const pre = document.createElement("pre")
  pre.textContent = JSON.stringify({
    inner: view.innerWidth, scroll: page.documentElement.scrollWidth,
    figures: all("figure svg", box), labels: all("figure svg text", box),
    boxes: all(".scroll, .paper", e => [e.clientWidth, e.scrollWidth, ...box(e)]),
    names: all("tbody th", box),
    ground: colour(page.body), paper: colour(page.querySelector(".paper")),
    scripts: page.scripts.length, alerts: page.querySelectorAll("[onerror]").length,
  })
  document.body.append(pre)
}
</script>"""


@pytest.fixture
def browser(tmp_path: Path, page: str) -> Iterator[Browser]:
    folder = tmp_path / "report"
    folder.mkdir()
    (folder / "index.html").write_text(page, encoding="utf-8")
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            asked.append(self.path)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Browser(folder, f"http://127.0.0.1:{server.server_port}", asked)
    server.shutdown()
    server.server_close()


@needs_browser
def test_a_browser_opens_it_without_an_error_or_another_request(browser: Browser) -> None:
    dom, console = browser.open("index.html", "--dump-dom")
    assert browser.asked == ["/index.html"]
    assert console == ""
    assert "Where the numbers come from" in dom


@needs_browser
def test_an_error_or_a_request_would_have_been_seen(browser: Browser, page: str) -> None:
    (browser.folder / "held.html").write_text(page.replace("</main>", '<img src="/held.png"></main>'))
    _, console = browser.open("held.html", "--dump-dom")
    assert "Content Security Policy" in console  # the page's own rule holds the request back
    assert browser.asked == ["/held.html"]

    free = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    (browser.folder / "free.html").write_text(free.replace("</main>", '<img src="/free.png"></main>'))
    browser.open("free.html", "--dump-dom")
    assert browser.asked == ["/held.html", "/free.html", "/free.png"]


@needs_browser
@pytest.mark.parametrize("width", [390, 320, 768, 1400])
def test_the_page_never_scrolls_sideways_and_figures_can_be_read(browser: Browser, width: int) -> None:
    seen = browser.measured(width)

    assert seen["inner"] == width
    assert seen["scroll"] <= width
    assert len(seen["figures"]) == 2
    for _, _, wide, high in seen["figures"]:
        assert wide >= 230
        assert high >= 150
    assert min(high for *_, high in seen["labels"] if high) >= 7  # pixels
    assert seen["scripts"] == seen["alerts"] == 0
    if width == 390:  # what is wider than the phone scrolls in a box of its own
        assert any(whole > shown for shown, whole, *_ in seen["boxes"])
        assert all(shown <= width for shown, *_ in seen["boxes"])


def _brightness(colour: str) -> float:
    return float(np.mean([int(part) for part in re.findall(r"\d+", colour)[:3]]))


@needs_browser
def test_dark_mode_darkens_the_page_and_leaves_the_figures_on_light_paper(browser: Browser) -> None:
    dark = browser.measured(1400, "--blink-settings=preferredColorScheme=0")
    light = browser.measured(1400, "--blink-settings=preferredColorScheme=1")

    assert _brightness(dark["ground"]) < 60
    assert _brightness(light["ground"]) > 240
    assert dark["paper"] == light["paper"] == "rgb(255, 255, 255)"


@needs_browser
@pytest.mark.parametrize("scheme", [0, 1], ids=["dark", "light"])
def test_what_scrolls_is_shaded_at_its_edge_and_rows_are_ruled_from_their_names_on(
    browser: Browser, tmp_path: Path, scheme: int
) -> None:
    flag = f"--blink-settings=preferredColorScheme={scheme}"
    seen = browser.measured(390, flag)
    browser.open("frame.html", f"--screenshot={tmp_path / 'page.png'}", flag, size=(400, 6000))

    with Image.open(tmp_path / "page.png") as image:
        pixels = np.asarray(image.convert("RGB")).astype(float).mean(2)
    assert {whole > shown for shown, whole, *_ in seen["boxes"]} == {True, False}
    for shown, whole, left, top, wide, high in seen["boxes"]:
        area = pixels[int(top) + 8 : int(top + high) - 8, int(left) + 2 : int(left + wide) - 2]
        ground = np.median(area)
        assert (abs(np.median(area[:, -1]) - ground) > 15) == (whole > shown)
        assert abs(np.median(area[:, 0]) - ground) < 2  # nothing lies to the left
    for left, top, wide, high in seen["names"]:
        beside = pixels[round(top + high) - 2 : round(top + high) + 1, int(left + wide) - 4]
        assert np.ptp(beside) > 15


@needs_browser
def test_figures_are_painted(browser: Browser, tmp_path: Path) -> None:
    figures = browser.measured(1400)["figures"]
    browser.open("frame.html", f"--screenshot={tmp_path / 'page.png'}", size=(1400, 6000))

    with Image.open(tmp_path / "page.png") as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    for left, top, wide, high in figures:
        area = pixels[int(top) : int(top + high), int(left) : int(left + wide)]
        assert area.shape[0] > 150
        blue = (np.abs(area - [0x00, 0x72, 0xB2]).sum(2) < 30).sum()
        vermilion = (np.abs(area - [0xD5, 0x5E, 0x00]).sum(2) < 30).sum()
        assert blue > 200  # the line of mmssl, and that of lightgcn
        assert vermilion > 200


@needs_browser
def test_figures_with_harmful_titles_stay_harmless(browser: Browser) -> None:
    harmful = replace(sample_report.layers(NASTY), caption=NASTY)
    report = Report(NASTY, (NASTY,), (Section("s", NASTY, plots=(harmful,)),), created=NASTY)
    (browser.folder / "index.html").write_text(html.page(report), encoding="utf-8")

    seen = browser.measured(390)
    assert seen["scripts"] == seen["alerts"] == 0
    assert seen["scroll"] <= 390
    assert "/index.html" in browser.asked
    assert set(browser.asked) == {"/index.html", "/frame.html"}
