"""What is wrong with a file, in one line."""

from __future__ import annotations

from pathlib import Path


class ImportProblem(Exception):
    """A file that cannot be imported: which one, where in it, what is wrong there, and what to do about it."""

    def __init__(self, path: Path, place: str, fault: str, remedy: str) -> None:
        super().__init__(path, place, fault, remedy)
        self.path, self.place, self.fault, self.remedy = path, place, fault, remedy

    def __str__(self) -> str:
        where = f"{self.path}, {self.place}" if self.place else str(self.path)
        return " ".join(f"{where}: {self.fault}; {self.remedy}".split())
