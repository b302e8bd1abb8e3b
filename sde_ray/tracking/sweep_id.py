"""A sweep's own id in its folder, by which its run in MLflow is found from every machine."""

from __future__ import annotations

import re
import uuid
from pathlib import Path

from sde_ray.errors import UserError
from sde_ray.storage.files import write_atomic

SWEEP_ID_FILE = "sweep_id"


def ensure_sweep_id(folder: Path) -> str:
    """The sweep's own id, kept in its folder: a sweep of the same name elsewhere is another one."""
    path = folder / SWEEP_ID_FILE
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(path, uuid.uuid4().hex + "\n", durable=True)
    return read_sweep_id(folder)


def read_sweep_id(folder: Path) -> str:
    """The id in a sweep's folder. Raises UserError where it is none: an empty one would be that of many sweeps."""
    path = folder / SWEEP_ID_FILE
    sweep_id = path.read_text(encoding="utf-8").strip()
    if not re.fullmatch(r"[0-9a-f]{32}", sweep_id):
        raise UserError(
            f'"{path}" holds no id of a sweep, by which its run in MLflow is found: {sweep_id[:40]!r}. Restore it, or '
            "delete it: the sweep then gets a run of its own, with all that its ledger has."
        )
    return sweep_id
