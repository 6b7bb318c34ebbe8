"""Columns of interactions by their usual names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_USUAL = {
    "user": "user userid uid useridx userno username reviewerid customer customerid visitorid memberid accountid",
    "item": "item itemid iid itemidx itemno asin parentasin product productid movie movieid film filmid book bookid "
    "isbn article articleid business businessid recipe recipeid track trackid song songid video videoid news newsid",
    "time": "time timestamp unixreviewtime unixtime unixtimestamp date datetime ts",
    "rating": "rating ratings overall stars score",
    "split_column": "split splitlabel xlabel",
}
_LESS_USUAL = {
    "time": "createdat created createdon createddate createdtime creationdate creationtime eventtime eventdate "
    "eventtimestamp eventts timestampms unixtimestampms unixts epoch epochms orderdate ordertime orderedat "
    "ordertimestamp purchasedate purchasetime purchasedat purchasetimestamp transactiondate transactiontime "
    "reviewtime reviewdate reviewedat ratingtime ratingdate ratedat ratingtimestamp clicktime clickedat viewtime "
    "viewedat visittime visitedat interactiontime listenedat watchedat playedat invoicedate datelastmodified",
}
"""Names that count where a table has none of the usual ones."""
# White space, _ and -, and the type that RecBole adds to a name.
_IGNORED = re.compile(r"[\s_-]+|:(token|float)(_seq)?$")
_LIKE_EPOCH = 1e8
_ORDER = ("user", "item", "rating", "time")
# i27 and user 3; Amazon's B00ABC1234 (or an ISBN) and A1B2C3.
_LIKE_ITEM = re.compile(r"i(tem)?[\W_]*\d|B0|\d{9}[\dX]$", re.IGNORECASE)
_LIKE_USER = re.compile(r"u(ser)?[\W_]*\d|A[0-9A-Z]", re.IGNORECASE)


def usual_columns(role: str, names: Iterable[str]) -> list[str]:
    """Return the columns that usually hold a role: user, item, time, rating or split_column; case, _, - and a type
    such as :token ignored.
    """
    plain = {name: plain_name(name) for name in names}
    usual = [name for name, word in plain.items() if word in _USUAL[role].split()]
    return usual or [name for name, word in plain.items() if word in _LESS_USUAL.get(role, "").split()]


def plain_name(name: str) -> str:
    """Return the name of a column without what does not count: case, white space, _, - and a type such as :token."""
    return _IGNORED.sub("", name).casefold()


def may_name_items(name: str) -> bool:
    """Return whether a column of this name, ``id`` or a usual one, may hold the ids of items."""
    return plain_name(name) == "id" or bool(usual_columns("item", [name]))


def seem_values(first: Sequence[str], others: Sequence[Sequence[str]]) -> bool:
    """Return whether the cells of a first line are values and no names of columns, given those of the next lines."""
    if any(usual_columns(role, first) for role in _USUAL):
        return False
    columns = [[row[place] for row in others if len(row) == len(first)] for place in range(len(first))]
    return any(_is_number(cell) or _is_alike(cell, column) for cell, column in zip(first, columns, strict=True))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return any(sign.isdigit() for sign in text)


def _is_alike(cell: str, others: Sequence[str]) -> bool:
    """Return whether a cell has the form of all others: u1 and u27, or codes with digits of one length."""
    if not others or not any(sign.isdigit() for sign in cell):
        return False
    masks = {re.sub(r"[0-9]+", "0", text) for text in (cell, *others)}
    return len(masks) == 1 or (len(cell) > 7 and {len(text) for text in others} == {len(cell)})


def suggested_columns(first: Sequence[str]) -> str:
    """Return a value for --columns, given the first line of a file without a header."""
    if len(first) == 1:  # spaces are no separator unless columns are named
        first = first[0].split()
    names = list(_ORDER[: len(first)])
    if len(first) > 1 and _LIKE_ITEM.match(first[0]) and _LIKE_USER.match(first[1]):
        names[:2] = ["item", "user"]
    if len(first) == 3 and _is_number(first[2]) and float(first[2]) >= _LIKE_EPOCH:
        names[2] = "time"
    return ",".join([*names, *(f"column{place}" for place in range(len(names) + 1, len(first) + 1))])
