"""Titles of tasks, for people: a task of a YAML file is called by its own name, not by the file's path.

    task_title("tasks/hotels.yaml")         "hotels", as the file says
    task_title("mams@/home/me/data/MAMS")   "mams@MAMS"
    task_title("masa:d1")                   "masa:d1"

The name itself stays what trials carry: their keys are made of it.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import PurePosixPath

from sde_ray.errors import UserError
from sde_ray.tasks import YAML, resolve_task


@lru_cache(maxsize=64)
def task_title(name: str) -> str:
    """What a task is called where people read it; the file's own name where it cannot be read, or is not trusted."""
    short_name, at, location = name.partition("@")
    if not short_name.endswith(YAML):
        return f"{short_name}{at}{PurePosixPath(location).name}" if at and "://" not in name else name
    try:
        return resolve_task(name).name
    except (UserError, OSError):
        return PurePosixPath(short_name).stem
