"""The configuration of a run that is there already, named by its YAML file, its folder or its address.

config = open_sweep("runs/quickstart")        what is small is downloaded first where the run is in a remote storage

A YAML file that the user names is the user's own. The sweep.yaml in a folder of results may be anybody's: it counts as
the user's where a sweep of this user on this machine has written the very same; else nothing that it names is imported
or read (`config/names.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sde_ray.config.load import load_config
from sde_ray.config.schema import SweepConfig
from sde_ray.errors import UserError
from sde_ray.storage.layout import LEDGER, SWEEP
from sde_ray.storage.ledger import Ledger
from sde_ray.storage.remote import fetch_file
from sde_ray.storage.uri import is_uri, split


def open_sweep(location: str | Path, sets: Sequence[str] = ()) -> SweepConfig:
    """The configuration of a sweep named by its YAML file, or by the folder or address of a run.

    Of a sweep in a store, what is small is brought here.
    """
    config = _open_uri(str(location), sets) if is_uri(location) else _open_path(Path(location), sets)
    config.run_dir.refresh()
    return config


def _open_uri(location: str, sets: Sequence[str]) -> SweepConfig:
    try:
        storage, name = split(location)
    except ValueError as error:
        raise UserError(str(error)) from None
    path = fetch_file(f"{storage}/{name}/{SWEEP}")
    return load_config(path, [f"storage_path={storage}", f"name={name}", *sets], trusted=False)


def _open_path(location: Path, sets: Sequence[str]) -> SweepConfig:
    if not location.is_dir():
        return load_config(location, sets)
    if not (location / SWEEP).is_file():
        raise UserError(
            f'"{location}" is not the folder of a sweep: it has no sweep.yaml. Give one such as runs/quickstart.'
        )
    try:
        return load_config(
            location / SWEEP,
            [f"storage_path={location.absolute().parent}", f"name={location.name}", *sets],
            trusted=False,
        )
    except UserError:
        Ledger(location / LEDGER).entries()  # a run of version 0.1 is refused in one sentence, not key by key
        raise
