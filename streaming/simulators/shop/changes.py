"""How the catalogue changes while the shop is open."""

from __future__ import annotations

import numpy as np
import polars as pl

from streaming.simulators.shop.goods import START_MS, Goods, item_records

_KINDS = ("price", "sold out", "back", "withdrawn", "new")
_SHARES = (0.4, 0.2, 0.15, 0.1, 0.15)


def changes(goods: Goods, *, hours: float, per_hour: float, seed: int = 0) -> pl.DataFrame:
    """Records of changed items in the order of their times, with `change`: price, sold out, back, withdrawn or new.

    A new item is one more of the category of an item that there is, and its id is new as well.
    """
    random = np.random.default_rng([seed, 5])
    count = int(random.poisson(hours * per_hour))
    which = random.integers(0, len(goods), count)
    kind = pl.Series("change", np.array(_KINDS, dtype=object)[random.choice(len(_KINDS), count, p=_SHARES)].tolist())
    at_ms = START_MS + np.sort(random.integers(0, max(1, round(hours * 3_600_000)), count))
    rows = item_records(goods, which).with_columns(kind.cast(pl.String), at_ms=pl.Series(at_ms))
    number = (pl.col("change") == "new").cum_sum() + len(goods) - 1
    new_id = pl.lit("i") + number.cast(pl.String).str.zfill(6)
    factor = pl.Series(np.round(random.uniform(0.7, 1.3, count), 2))
    return rows.with_columns(
        item_id=pl.when(pl.col("change") == "new").then(new_id).otherwise("item_id"),
        changed_ms=pl.col("at_ms").cast(rows.schema["changed_ms"]),
        price=pl.when(pl.col("change") == "price").then((pl.col("price") * factor).round(2)).otherwise("price"),
        in_stock=pl.col("change") != "sold out",
        withdrawn=pl.col("change") == "withdrawn",
    ).drop("at_ms")
