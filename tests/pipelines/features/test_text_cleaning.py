"""Texts of the web come out plain, whatever goes in."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.features.text_cleaning import LONGEST_TEXT, clean_text


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("Plain words stay", "Plain words stay"),
        ("Pr45&quot; Wht Lace &amp; more", 'Pr45" Wht Lace & more'),
        ("Home &amp;amp; Kitchen &amp;lt;3", "Home & Kitchen <3"),
        ("caf&eacute; &#233; &#xE9; &nbsp; x", "café é é x"),
        ("<b>Bold</b><br/>next<br>line<p class='a'>end</p>", "Bold next line end"),
        ("&lt;b&gt;Bold&lt;/b&gt; and 3 < 4 > 2", "Bold and 3 < 4 > 2"),
        ("a<!-- not <b>this</b> -->b<script>var x = '<p>';</script>c<STYLE>p {}</style >d", "a b c d"),
        ("before<script>never closed", "before"),
        ("tab\tline\r\nnul\0bell\a\x85 wide\u3000no\u00a0break", "tab line nul bell wide no break"),
        ("zero\u200bwidth soft\u00adhyphen \ufeffmark", "zerowidth softhyphen mark"),
        ("\ud83d\ude00 and \ud83d alone", "😀 and � alone"),
        ("&#99999999999; &#" + "9" * 5000 + "; x", "x"),
        ("cafÃ© and the seller\u00e2\u20ac\u2122s", "café and the seller\u2019s"),
        ("l\u00e2\x80\x99&Eacute;t\u00c3\u00a9 \u2013 Ã la carte", "l\u2019Été \u2013 à la carte"),
        (
            "na\u00efve d\u00e9j\u00e0 vu, 10 \u20ac \ud83d \u65e5\u672c",
            "na\u00efve d\u00e9j\u00e0 vu, 10 \u20ac \ufffd \u65e5\u672c",
        ),
        ("", None),
        ("<br>\n&nbsp;", None),
        ("None", None),
        (" nan ", None),
        ("Nan's bread", "Nan's bread"),
        (None, None),
        (math.nan, None),
        (pd.NA, None),
        (np.float32("nan"), None),
        (12, "12"),
    ],
)
def test_one_part(raw: Any, clean: str | None) -> None:
    assert clean_text([raw]) == clean


@pytest.mark.parametrize(
    "legal",
    [
        *("€é", "5 €élevé", "der „Fuß“ und der Spaß”", "«NÉ»", "MARQUÉ… de l’œuvre", "Œuvre™ à 10 €", "«Ça va», “Él”"),
        *("Mötley Crüe™", "¿Qué? ½ £5 §2 ®", "São Paulo, MAÇÃ", "Łódź – żółć", "žluťoučký kůň", "Őrült ő…", "ĞÜŞİÖÇ"),
        *("Cà phê Đà Nẵng", "și țară", "Ελλάδα", "Привет, «мир»", "Київ – ґанок", "日本語の本", "中文", "한국어"),
        *("שלום", "مرحبا", "हिन्दी", "ไทย", "naïve 😀 déjà", "V√2 ≈ 1.41", "ʃɻ ǎ", "Ängström Å"),
    ],
)
def test_legal_text_of_any_script_stays(legal: str) -> None:
    assert clean_text([legal]) == legal


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        *(("café", "cp1252"), ("l’été – à", "cp1252"), ("l’été – à", "cp437"), ("naïve café", "mac-roman")),
        *(("Привет", "cp1251"), ("Привет", "cp1252"), ("Ελλάδα", "cp1253"), ("Ünïcode", "latin-1")),
        *(("日本", "cp1252"), ("ğüş", "cp1254"), ("și țară", "latin-1"), ("Nẵng", "latin-1"), ("5 € – ok", "cp1252")),
    ],
)
def test_mojibake_of_several_scripts_is_undone(text: str, wrong: str) -> None:
    assert clean_text([text.encode().decode(wrong)]) == text


def test_parts_are_joined_and_missing_ones_left_out() -> None:
    assert clean_text(["A title", None, "<i></i>", "None", "Brand &amp; Co", math.nan]) == "A title Brand & Co"
    assert clean_text([]) is None
    assert clean_text(part for part in ("a", "b")) == "a b"


def test_a_text_has_an_end() -> None:
    text = clean_text(["word " * 10_000, "never seen"])
    assert text is not None and LONGEST_TEXT - 5 <= len(text) <= LONGEST_TEXT
    assert text.endswith("word")


@pytest.mark.parametrize(
    "piece", ["<", "<a", "<!--", "<!-- -->", "<script>", "&", "&amp;", "&#", "&#1", "\ud800", "</"]
)
def test_hostile_markup_takes_no_longer_than_its_length_asks(piece: str) -> None:
    text = clean_text([piece * 2_000_000])
    assert text is None or len(text) <= LONGEST_TEXT


@settings(deadline=None)
@given(st.lists(st.text(alphabet=st.characters() | st.sampled_from("<>&;#!-/ab \n\0"), max_size=60), max_size=4))
def test_whatever_goes_in(parts: list[str]) -> None:
    text = clean_text(parts)
    if text is not None:
        assert text == text.strip() and "  " not in text
        assert not re.search(r"[\x00-\x1f\x7f-\x9f]|<[a-zA-Z/][^<>]*>", text) or "&" in "".join(parts)
        text.encode("utf-8")
