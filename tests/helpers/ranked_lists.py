"""Ranked lists as a table, to evaluate."""

from __future__ import annotations

import pandas as pd


def ranked_lists(**columns: object) -> pd.DataFrame:
    return pd.DataFrame({"user": ["user-0007"] * 2, "item": ["item-0003", "item-0004"], **columns})
