"""A made-up shop: goods, shoppers with tastes that nobody sees, their visits, bots, and what they would have clicked.

    goods ──► visits (events of sessions, who was who) ──► importers, pipelines, tests
      │          ▲
      │       tastes, trends, seasons
      ├─► changes (prices, stock, withdrawn and new items, by time)
      └─► response (the probability of a click on any item in any place: the truth for experiments)

    goods = make_goods(5_000, seed=1)
    shoppers = make_shoppers(goods, 2_000, seed=1)
    made = visits(goods, shoppers, sessions=10_000, seed=1)      # made.events, made.truth
    later = changes(goods, hours=2.0, per_hour=60.0, seed=1)     # records of the catalogue

Everything is a pure function of its settings and a seed.
"""

from streaming.simulators.shop.changes import changes
from streaming.simulators.shop.goods import Goods, item_records, make_goods
from streaming.simulators.shop.response import click_probability, reactions, respond
from streaming.simulators.shop.shoppers import Shoppers, make_shoppers
from streaming.simulators.shop.visits import Visits, VisitSettings, visits

__all__ = [
    "Goods",
    "Shoppers",
    "VisitSettings",
    "Visits",
    "changes",
    "click_probability",
    "item_records",
    "make_goods",
    "make_shoppers",
    "reactions",
    "respond",
    "visits",
]
