"""Who may be promoted, and where a rollback leads.

A promotion builds the version's network before the alias moves: what cannot serve is never meant. A rollback leads to
what has served already, and somebody waits for it: that every file is the one that was saved is enough, and takes a
tenth of a second where torch takes seconds.
"""

from __future__ import annotations

from models.store.aliases import ROLLBACK, AliasMove, AliasState, meanings
from models.store.errors import AliasMovedError, ModelNotFoundError, NotApprovedError
from models.store.names import LIVE, exact
from models.store.store import ModelStore
from models.verdict import Reason, Verdict

CANDIDATE = "candidate"
"""The one alias that needs no verdict: a candidate is what a gate is about to judge."""


def promote(
    store: ModelStore,
    ref: str,
    *,
    alias: str = LIVE,
    expect: int | None = None,
    verdict: Verdict | None = None,
    force: bool = False,
    reason: str = "",
    who: str = "",
) -> AliasMove | None:
    """Let an alias mean a version that a gate has passed.

    Args:
        store: where both are.
        ref: "NAME@VERSION".
        alias: any but "candidate" needs a verdict.
        expect: the version that the alias must mean now; None for whatever it means.
        verdict: recorded beside the version first, even where it refuses; None for the one recorded already.
        force: promote against the gate's objection, which then stands in the alias's history.
        reason: in words, for the history.
        who: as of `ModelStore.move_alias`.

    Returns:
        The move; None where the alias meant this version already, and nothing was changed.

    Raises:
        BadReference: no version is named.
        ModelNotFoundError, BrokenModelError: there is no such version, or it cannot serve.
        AliasMovedError: the alias does not mean what was expected, or somebody else moves it at the same time.
        NotApprovedError: no verdict, or none that passes it against what the alias means now, and no force.
    """
    name, version = exact(ref)
    seen = store.alias_state(name, alias)
    _require(f"{name}@{alias}", seen, expect)
    store.load(ref).build()
    if verdict is not None:
        store.record_verdict(name, version, verdict)
    if seen is not None and seen.version == version:
        return None
    against = objection(store.verdict(name, version), name, alias, seen)
    if against and not force:
        raise NotApprovedError(f"{ref} does not become {alias}: {against}; --force --reason TEXT does it all the same")
    why = f"{reason} (against the gate: {against})" if against else reason
    return store.move_alias(name, alias, version, seen=seen, who=who, why=why, forced=bool(against))


def rollback(
    store: ModelStore, name: str, *, alias: str = LIVE, expect: int | None = None, reason: str = "", who: str = ""
) -> AliasMove:
    """Let an alias mean again what it meant before its last promotion; a second time, one further back.

    Args: as of `promote`.

    Raises:
        ModelNotFoundError: there is no such alias.
        BrokenModelError: what it meant before is damaged.
        AliasMovedError: the alias does not mean what was expected, or somebody else moves it at the same time.
        NotApprovedError: it has meant nothing else.
    """
    seen = store.alias_state(name, alias)
    if seen is None:
        raise ModelNotFoundError(f"there is no {name}@{alias}; `sightline models ls` shows the aliases")
    _require(f"{name}@{alias}", seen, expect)
    standing = meanings(store.history(name, alias))
    if len(standing) < 2:
        raise NotApprovedError(
            f"{name}@{alias} has meant nothing before version {seen.version}; choose one with "
            f"`sightline models promote {name}@VERSION --alias {alias}`"
        )
    version = standing[-2]
    store.check(f"{name}@{version}")
    return store.move_alias(name, alias, version, seen=seen, kind=ROLLBACK, who=who, why=reason)


def objection(verdict: Verdict | None, name: str, alias: str, seen: AliasState | None) -> str:
    """Why a version may not become this alias, in words; "" where nothing speaks against it."""
    if alias == CANDIDATE:
        return ""
    now = "" if seen is None else f"{name}@{seen.version}"
    if verdict is None:
        return "no gate has judged it"
    if not verdict.passed:
        failed = "; ".join(_words(reason) for reason in verdict.reasons if not reason.passed)
        return f"the gate refused it ({failed or 'it gives no reason'})"
    if verdict.against != now:
        other = verdict.against or "nothing"
        return f"the gate compared it with {other}, but {alias} means {now or 'nothing'} now"
    return ""


def _require(ref: str, seen: AliasState | None, expect: int | None) -> None:
    """Raise AliasMovedError if something else was expected than what the alias means."""
    if expect is not None and (seen is None or seen.version != expect):
        now = "means nothing" if seen is None else f"means version {seen.version}"
        raise AliasMovedError(f"{ref} {now} now, and not {expect} as expected; nothing was changed")


def _words(reason: Reason) -> str:
    figure, bound = ("not known" if value is None else f"{value:g}" for value in (reason.figure, reason.bound))
    return f"{reason.criterion}: {figure}, bound {bound}"
