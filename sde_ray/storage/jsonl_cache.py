"""Append-only JSONL cache keyed by content hash; safe for concurrent writers and torn lines.

    file = JsonlCache(folder / "analysis.jsonl")
    values = file.read()                      {"5f0c...": {"score": 0.8}}: of several lines with one key the last counts
    file.append("5f0c...", {"score": 0.8})

For results that cost much and are never computed twice: a model's replies, the measurements of a study. A value is on
disk when `append` returns. A line that a dying process has torn is skipped and computed again; threads and processes
exclude each other by a file lock.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sde_ray.errors import UserError
from sde_ray.safe_json import read_json
from sde_ray.storage.file_lock import LOCK, exclusive


class JsonlCache:
    """The file; made with its folder when the first line is appended."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)

    def read(self) -> dict[str, dict[str, Any]]:
        """Every value by its key; what is no such line is passed over."""
        try:
            lines = self.path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise UserError(f'Cannot read "{self.path}": {error.strerror}. Correct its permissions.') from None
        found: dict[str, dict[str, Any]] = {}
        for line in lines:
            try:
                row = read_json(line)
                found[row["key"]] = dict(row["value"])
            except (ValueError, TypeError, LookupError):
                continue
        return found

    def append(self, key: str, value: Mapping[str, Any]) -> None:
        """Write one value. `UserError` where the disk refuses it."""
        self.append_all({key: value})

    def append_all(self, values: Mapping[str, Mapping[str, Any]]) -> None:
        """Write values by their keys, in one go. `UserError` where the disk refuses them."""
        if not values:
            return
        rows = [{"key": key, "value": dict(value)} for key, value in values.items()]
        line = b"\n".join(json.dumps(row, ensure_ascii=False).encode("utf-8", "surrogatepass") for row in rows)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with exclusive(self.path.with_name(self.path.name + LOCK)), self.path.open("ab") as file:
                # An empty line before it costs nothing, and a torn line of a dead process cannot swallow this one.
                file.write((b"\n" if file.seek(0, os.SEEK_END) else b"") + line + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise UserError(
                f'Cannot write "{self.path}": {error.strerror}. What it holds is kept; free some space or correct the '
                "permissions, then run the same command again."
            ) from None
