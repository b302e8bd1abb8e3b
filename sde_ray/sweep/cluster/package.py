"""What travels to a cluster with a sweep: this package, the sweep's YAML and its own files, and nothing else.

    package = pack(Path("sweeps/hotels.yaml"), ("seeds=[0,1]",), into=folder)
    package.bytes, package.digest          # the same sweep gives the same digest, so Ray uploads it once

    folder/sweep.yaml                      with the overrides in it
    folder/data/0-hotels.jsonl             data that the YAML names by a relative path
    folder/my_axes.py                      modules of the user's own that the YAML names ("my_axes:TABS")
    folder/sde_ray/...                     so that the cluster runs this version of the code

Absolute paths are the cluster's own (a mounted data set, a model on shared disk): they stay as they are.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

import sde_ray
from sde_ray.config.load import DATA_PATHS
from sde_ray.errors import UserError
from sde_ray.plugins import is_path
from sde_ray.safe_json import stream_hash
from sde_ray.safe_yaml import assign, read_yaml
from sde_ray.storage.layout import SWEEP
from sde_ray.storage.uri import MEMORY, checked, is_uri, scheme

LIMIT_MB = 100.0
LEFT_OUT = ("__pycache__", "*.pyc", ".git", ".venv", "*.egg-info")


@dataclass(frozen=True)
class Package:
    """A folder that is ready to be sent. `stays`: absolute paths that must exist on the cluster."""

    folder: Path
    name: str
    storage: str
    files: int
    bytes: int
    largest: tuple[str, int]
    digest: str
    stays: tuple[str, ...]


def pack(sweep: Path, sets: Sequence[str], into: Path, limit_mb: float = LIMIT_MB) -> Package:
    """Gather in the empty folder `into` what the sweep needs; `UserError` where that is more than the limit."""
    values: dict[str, Any] = {"name": sweep.stem, **read_yaml(sweep)}
    for one in sets:
        assign(values, one)
    _check_storage(values)
    packing = _Packing(sweep.parent, into)
    values["task"] = packing.tasks(values.get("task"))
    packing.modules(values)
    shutil.copytree(Path(sde_ray.__file__).parent, into / "sde_ray", ignore=shutil.ignore_patterns(*LEFT_OUT))
    text = yaml.safe_dump(values, allow_unicode=True, sort_keys=False)
    (into / SWEEP).write_text(text, encoding="utf-8")
    return _measured(into, values, tuple(packing.stays), limit_mb)


def _check_storage(values: dict[str, Any]) -> None:
    storage = str(values.get("storage_path", "runs"))
    if is_uri(storage):
        try:
            checked(storage)
        except ValueError as error:
            raise UserError(f"storage_path: {error}") from None
        if scheme(storage) == MEMORY:
            raise UserError(f'storage_path is "{storage}", the memory of one process. Give one that all nodes reach.')
        return
    if not Path(storage).is_absolute():
        raise UserError(
            f'storage_path is "{storage}", a relative path: on the cluster it would lie in a temporary folder and '
            "go with it. Give an absolute one that all nodes share, or an address: "
            "--set storage_path=/shared/sde/runs, s3://bucket/runs"
        )


class _Packing:
    """Copies the files that values name, and rewrites the values to where the copies are."""

    def __init__(self, base: Path, into: Path) -> None:
        self.base, self.into = base, into
        self.stays: dict[str, None] = {}
        self._places: dict[Path, str] = {}

    def tasks(self, given: Any) -> Any:
        """The `task` of a sweep: a name, a section, or a list of them."""
        if isinstance(given, list):
            return [self.tasks(one) for one in given]
        if isinstance(given, str):
            name, at, place = given.partition("@")
            return f"{name}@{self._place(place, Path())}" if at else given
        if isinstance(given, dict) and isinstance(given.get("data"), dict):
            data = {
                key: self._place(value, self.base) if key in DATA_PATHS and isinstance(value, str) else value
                for key, value in given["data"].items()
            }
            return {**given, "data": data}
        return given

    def _place(self, given: str, base: Path) -> str:
        """Where the cluster finds the file or folder `given`."""
        path = base / given
        if Path(given).is_absolute():
            self.stays[given] = None
            return given
        if not path.exists():
            return given  # it may be a hub's name; the check of the sweep tells otherwise
        source = path.resolve()
        if source not in self._places:
            self._places[source] = place = f"data/{len(self._places)}-{source.name}"
            (self.into / "data").mkdir(exist_ok=True)
            self._copy(source, self.into / place)
        return self._places[source]

    def modules(self, values: Any) -> None:
        """Copy the modules beside the user that the values name as "module:NAME"."""
        for text in _strings(values):
            top = text.partition(":")[0].partition(".")[0]
            if not is_path(text) or top == "sde_ray" or (self.into / top).exists():
                continue
            for source in (Path(f"{top}.py"), Path(top)):
                if source.is_file() or (source / "__init__.py").is_file():
                    self._copy(source, self.into / source.name)
                    break

    @staticmethod
    def _copy(source: Path, target: Path) -> None:
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns(*LEFT_OUT))
        else:
            shutil.copyfile(source, target)


def _strings(value: Any) -> Iterator[str]:
    """Every string in plain values, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _strings(key)
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)


def _measured(folder: Path, values: dict[str, Any], stays: tuple[str, ...], limit_mb: float) -> Package:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    sizes = {str(path.relative_to(folder)): path.stat().st_size for path in files}
    total = sum(sizes.values())
    by_size = sorted(sizes.items(), key=lambda item: -item[1])
    if total > limit_mb * 2**20:
        heavy = ", ".join(f"{name} ({size / 2**20:.1f} MiB)" for name, size in by_size[:3])
        raise UserError(
            f"The package is {total / 2**20:.1f} MiB, more than {limit_mb:g}: {heavy}. Put large data on the cluster's "
            "shared storage and name them by an absolute path, or raise --limit-mb."
        )
    return Package(
        folder=folder,
        name=str(values["name"]),
        storage=str(values.get("storage_path", "runs")),
        files=len(files),
        bytes=total,
        largest=by_size[0],
        digest=stream_hash(
            f"{path.relative_to(folder)}\0".encode() + hashlib.sha256(path.read_bytes()).digest() for path in files
        ),
        stays=stays,
    )
