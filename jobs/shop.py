"""What the pipeline of recommendations is made of: its models, the catalogue it follows, and the file of the offer."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

from jobs.errors import UsageProblem

if TYPE_CHECKING:
    from jobs.settings import Settings, ShopSection
    from serve.releases import Following, Hints, Holder
    from serve.session import Asked, ByContentOf
    from streaming.pipeline import Pipeline
    from streaming.sessions.following import CatalogueFollower
    from streaming.sessions.limits import Limits
    from streaming.sessions.model import Recommended
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


def catalogue_of(settings: Settings) -> CatalogueFollower:
    """The shop's catalogue, followed from when it is first asked on."""
    from streaming.kafka.source import KafkaSource
    from streaming.sessions.following import CatalogueFollower
    from streaming.topics import ITEM_CATALOGUE

    source = KafkaSource(settings.kafka.connection(), ITEM_CATALOGUE.name, "")
    return CatalogueFollower(source, settings.registry.open())


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
