"""What the pipeline of recommendations is made of: its models, the catalogue it follows, and the file of the offer."""

from __future__ import annotations

import math
import time
import tomllib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.errors import UsageProblem

_LOOK_S = 0.1
_PATIENCE_S = 30.0

if TYPE_CHECKING:
    from jobs.settings import Settings, ShopSection
    from serve.releases import Following, Hints, Holder
    from serve.session import Asked, ByContentOf, LocalRecommend
    from streaming.pipeline import Pipeline
    from streaming.sessions.following import CatalogueFollower
    from streaming.sessions.limits import Limits
    from streaming.sessions.model import Recommended, Sessions
    from streaming.sessions.settings import Offer


def read_offer(shop: ShopSection) -> Offer:
    """What the file of the offer says; without one, what an offer is by default.

    Raises:
        UsageProblem: it cannot be read, says what cannot be, or an arm names a recommender that is not set.
    """
    from streaming.sessions.settings import Offer, parse_offer
    from streaming.store.plan import PlanProblem

    path = shop.offer
    if path is None:
        return Offer()
    try:
        offer = parse_offer(tomllib.loads(path.read_text("utf-8")))
    except OSError as error:
        raise UsageProblem(f"shop.offer: {path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageProblem(f"shop.offer: {path}: not TOML: {error}") from None
    except PlanProblem as problem:
        raise UsageProblem(f"shop.offer: {path}: {problem}") from None
    for arm in offer.arms:
        if arm.recommender not in shop.recommenders:
            raise UsageProblem(
                f"shop.offer: {path}: arm {arm.name} is to be answered by {arm.recommender!r}, and shop.recommenders "
                f"has {', '.join(shop.recommenders)}: set --set shop.recommenders.{arm.recommender}=MODEL, too"
            )
    return offer


def limits_of(shop: ShopSection) -> Limits:
    """When a session is over."""
    from streaming.sessions.limits import Limits

    return Limits(shop.gap_s, shop.max_length_s, shop.max_events, shop.flood_per_min, shop.user_s)


def catalogue_of(settings: Settings, max_age_s: float | None = None) -> CatalogueFollower:
    """The shop's catalogue, followed from when it is first asked on; it may be so old, by default as the live one."""
    from streaming.kafka.source import KafkaSource
    from streaming.sessions.following import MAX_AGE_S, CatalogueFollower
    from streaming.topics import ITEM_CATALOGUE

    source = KafkaSource(settings.kafka.connection(), ITEM_CATALOGUE.name, "")
    age_s = MAX_AGE_S if max_age_s is None else max_age_s
    return CatalogueFollower(source, settings.registry.open(), max_age_s=age_s)


def by_content_of(settings: Settings, catalogue: CatalogueFollower) -> ByContentOf | None:
    """What answers sessions of items that training has not seen, if anything is named."""
    reference = settings.shop.by_content
    return None if reference is None else (reference, catalogue)


def recommendations_with(
    holder: Holder[Asked, Recommended], catalogue: CatalogueFollower, settings: Settings, hints: Hints
) -> tuple[Pipeline, Following[Asked, Recommended]]:
    """The pipeline by the models that this one holds, as their aliases move; and who follows them.

    Raises:
        UsageProblem: as `read_offer`.
    """
    from serve.releases import Following
    from serve.session import FollowedRecommend
    from streaming.pipelines.recommendations import recommendations

    shop = settings.shop
    following = Following(holder, settings.models.store_roots, shop.recommenders, hints=hints)
    by_name = {name: FollowedRecommend(following, name) for name in shop.recommenders}
    return recommendations(by_name, catalogue, read_offer(shop), limits_of(shop)), following


@contextmanager
def replayed_recommendations(settings: Settings) -> Iterator[Pipeline]:
    """The pipeline by models that stay as they are, its models and its catalogue read before the first answer.

    Items are as they are now: a compacted topic does not keep what it said. So what was withdrawn since is not offered,
    and what is new is, and answers differ from those of then by that, even by the same model.

    Raises:
        UsageProblem: as `read_offer`.
        ModelNotFoundError, BrokenModelError: there is no such model.
        DependencyUnavailable: the catalogue cannot be read.
    """
    from serve.session import LocalRecommend
    from streaming.pipelines.recommendations import recommendations

    shop, store = settings.shop, settings.models.store
    offer = read_offer(shop)
    with closing(catalogue_of(settings, max_age_s=math.inf)) as catalogue:
        _read_to_its_end(catalogue)
        content, there = by_content_of(settings, catalogue), Path(store).is_dir()
        recommend = LocalRecommend(store, shop.recommenders, by_content=content, store_must_exist=there)
        recommend.describe()
        by_name = {name: partial(_ask, recommend, name) for name in shop.recommenders}
        yield recommendations(by_name, catalogue, offer, limits_of(shop))


def _ask(recommend: LocalRecommend, name: str, sessions: Sessions, top_k: int) -> Recommended:
    return recommend(name, (sessions, top_k))


def _read_to_its_end(catalogue: CatalogueFollower) -> None:
    """Raises DependencyUnavailable where nothing more of it comes for a while."""
    from streaming.pipeline import DependencyUnavailable

    read, since_s = -1, time.monotonic()
    while True:
        try:
            catalogue.as_of()
            return
        except DependencyUnavailable:
            if (position := catalogue.catalogue.index.position) > read:
                read, since_s = position, time.monotonic()
            elif time.monotonic() - since_s > _PATIENCE_S:
                raise
        time.sleep(_LOOK_S)
