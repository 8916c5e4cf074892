"""Change single fields of a nested frozen dataclass from text: `optim.lr=3e-4`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

from jobs.errors import UsageProblem

C = TypeVar("C")


def with_overrides(config: C, assignments: Iterable[str]) -> C:
    """A copy of `config` with each "path.to.field=value" applied in turn.

    Raises:
        UsageProblem: not of that form, no such field (the message lists those there are), or a value of another type.
    """
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not equals:
            raise UsageProblem(f"--set {assignment}: write it as path.to.field=value")
        config = _set(config, path.split("."), text, assignment)
    return config


def restored(config: C, values: Mapping[str, Any], where: str) -> C:
    """A copy of `config` with the values of its fields that were written as JSON; the others stay.

    Args:
        config: of the wanted kind.
        values: by field, nested as the dataclass is.
        where: they stand, for messages.

    Raises:
        UsageProblem: no such field (the message lists those there are), or a value of another type.
    """
    known = {each.name: getattr(config, each.name) for each in fields(config)}  # type: ignore[arg-type] # is a dataclass
    changed: dict[str, Any] = {}
    for name, value in values.items():
        if name not in known:
            raise UsageProblem(f"{where}: no field {name!r} in a recipe; there are {', '.join(known)}")
        old = known[name]
        if is_dataclass(old) and isinstance(value, Mapping):
            changed[name] = restored(old, value, f"{where}: {name}")
        elif type(value) is type(old) or (isinstance(old, float) and type(value) is int):
            changed[name] = type(old)(value) if isinstance(old, float) else value
        else:
            raise UsageProblem(f"{where}: {name} must be a {type(old).__name__}, not {value!r}")
    return replace(config, **changed)  # type: ignore[type-var] # is a dataclass


def _set(config: Any, path: list[str], text: str, assignment: str) -> Any:
    name, *deeper = path
    known = [field.name for field in fields(config)]
    if name not in known:
        raise UsageProblem(f"--set {assignment}: no field {name!r}; there are {', '.join(known)}")
    value = getattr(config, name)
    if is_dataclass(value):
        if not deeper:
            inner = ", ".join(f"{name}.{field.name}" for field in fields(value))
            raise UsageProblem(f"--set {assignment}: {name} is a group; set one of {inner}")
        return replace(config, **{name: _set(value, deeper, text, assignment)})
    if deeper:
        raise UsageProblem(f"--set {assignment}: {name} has no fields of its own")
    parsed = _parse(text, value, assignment)
    try:
        return replace(config, **{name: parsed})
    except ValueError as error:  # of a config that checks itself
        raise UsageProblem(f"--set {assignment}: {error}") from None


def _parse(text: str, old: Any, assignment: str) -> Any:
    """`text` as a value of the type that the field has now."""
    if isinstance(old, bool):
        if text not in ("true", "false"):
            raise UsageProblem(f"--set {assignment}: write true or false")
        return text == "true"
    try:
        return type(old)(text)
    except ValueError:
        raise UsageProblem(f"--set {assignment}: {text!r} is not a {type(old).__name__}") from None
