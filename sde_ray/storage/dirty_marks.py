"""Marks of what a mirror has and its store lacks, one small file each in `.unsent`, written whole.

    marks = DirtyMarks(mirror)
    marks.set("trials/5f0c", at_work=True)      this process writes it now, and will send it
    marks.all()                                 {"trials/5f0c": True}: dirty, and whether a process is at work on it

A mark of a process of this container is believed or not by whether the process runs. One of another container, another
machine that shares the folder, or from before a restart of the machine cannot be asked: it counts for a day.
"""

from __future__ import annotations

import json
import time
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from sde_ray.storage.files import NEW, write_atomic
from sde_ray.storage.process import is_running, this_process

UNSENT = ".unsent"
STALE_SECONDS = 86400.0  # after which a process that cannot be asked from here counts as dead


class DirtyMarks:
    """The marks in the mirror `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / UNSENT

    def set(self, name: str, at_work: bool = False) -> None:
        """Mark a file or folder of the mirror, by its path there. `at_work`: by this process, which will send it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        owner = this_process() if at_work else {}
        write_atomic(self._path(name), json.dumps(owner), temporary=f"{uuid.uuid4().hex}{NEW}")

    def remove(self, name: str) -> None:
        self._path(name).unlink(missing_ok=True)

    def all(self) -> dict[str, bool]:
        """What is dirty, and whether a process is at work on it, as far as can be known from here."""
        marks = {}
        for path in sorted(self.folder.glob("*")):
            try:
                age = time.time() - path.stat().st_mtime
                if path.name.endswith(NEW):
                    self._remove_torn(path, age)
                    continue
                owner: dict[str, Any] = json.loads(path.read_text())
            except FileNotFoundError:
                continue  # sent meanwhile
            except (OSError, ValueError):
                owner, age = {}, 0.0  # of a version that did not write it whole
            running = is_running(owner)
            at_work = age < STALE_SECONDS if running is None else running
            marks[unquote(path.name)] = at_work and "pid" in owner
        return marks

    def _remove_torn(self, path: Path, age: float) -> None:
        """What a process has left that was killed while it wrote a mark."""
        if age > STALE_SECONDS:
            path.unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self.folder / quote(name, safe="")
