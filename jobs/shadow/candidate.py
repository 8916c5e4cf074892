"""Which model a shadow answers by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs.errors import UsageProblem

if TYPE_CHECKING:
    from jobs.settings import Settings


def shadowed(settings: Settings, candidate: str) -> Settings:
    """The same settings, with a candidate for its title; an alias is followed as it moves.

    Raises:
        UsageProblem: the pipeline has no such title, or answers it by this reference already.
        ModelNotFoundError, BrokenModelError: there is no such model, or it cannot be read.
    """
    from models.store import ModelStore
    from models.store.names import LIVE

    store, titles = ModelStore(*settings.models.store_roots), settings.models.titles
    title = store.manifest(*store.resolve(candidate)).title
    if title not in titles:
        raise UsageProblem(
            f"--shadow {candidate}: is for {title}, and the pipeline answers {', '.join(sorted(titles))}"
        )
    if _named(candidate, LIVE) == _named(titles[title], LIVE):
        raise UsageProblem(f"--shadow {candidate}: answers {title} live; name a candidate, such as NAME@candidate")
    models = settings.models.model_copy(update={"titles": {**titles, title: candidate}})
    return settings.model_copy(update={"models": models})


def _named(reference: str, default: str) -> tuple[str, str]:
    name, _, rest = reference.partition("@")
    return name, rest or default
