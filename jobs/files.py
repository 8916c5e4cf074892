"""Writing results so that a reader sees the old file or the new one, never half of one."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def draft_of(path: Path, mode: int = 0o644) -> Iterator[Path]:
    """An empty file beside the place, to be written in the body, and moved there in one rename if that succeeds."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    os.close(descriptor)
    draft = Path(name)
    try:
        yield draft
        draft.chmod(mode)  # until now it was its owner's alone
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str | Iterable[str], mode: int = 0o644) -> None:
    """Write a text, or its parts as they come."""
    with draft_of(path, mode) as draft, draft.open("w", encoding="utf-8") as stream:
        stream.writelines([text] if isinstance(text, str) else text)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Indented JSON; NaN is refused."""
    write_text(path, json_text(value))


def json_text(value: Mapping[str, Any]) -> str:
    """The same as text, with a line end."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def without_infinity(figures: Mapping[str, Any]) -> dict[str, Any]:
    """The same, with null for what has no bound: JSON knows no infinity."""

    def told(value: Any) -> Any:
        if isinstance(value, Mapping):
            return without_infinity(value)
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return {name: told(value) for name, value in figures.items()}
