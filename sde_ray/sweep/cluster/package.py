"""The files of a job on a cluster: this package, the sweep's YAML and its own files, and nothing else.

    package = build_package(Path("sweeps/hotels.yaml"), ("seeds=[0,1]",), into=folder)
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
from sde_ray.config.load import DATA_PATHS, refuse_masked
from sde_ray.errors import UserError
from sde_ray.plugins import is_path
from sde_ray.safe_json import stream_hash
from sde_ray.safe_yaml import assign, read_yaml
from sde_ray.storage.layout import SWEEP
from sde_ray.storage.uri import MEMORY, checked, is_uri, scheme

LIMIT_MB = 100.0
IGNORED_FILES = ("__pycache__", "*.pyc", ".git", ".venv", "*.egg-info")


@dataclass(frozen=True)
class Package:
    """A folder that is ready to be sent. `external_paths`: absolute paths that must exist on the cluster."""

    folder: Path
    name: str
    storage: str
    files: int
    bytes: int
    largest: tuple[str, int]
    digest: str
    external_paths: tuple[str, ...]


def build_package(sweep: Path, sets: Sequence[str], into: Path, limit_mb: float = LIMIT_MB) -> Package:
    """Copy what a sweep needs into a folder.

    Args:
        sweep: its YAML file.
        sets: overrides of the YAML, "key=value".
        into: an empty folder.
        limit_mb: largest size, in MiB.

    Raises:
        UserError: when the package is larger, or the cluster's nodes could not reach the sweep's storage.
    """
    values: dict[str, Any] = {"name": sweep.stem, **read_yaml(sweep)}
    for setting in sets:
        assign(values, setting)
    refuse_masked(values)
    _check_storage(values)
    builder = _PackageBuilder(sweep.parent, into)
    values["task"] = builder.tasks(values.get("task"))
    builder.modules(values)
    shutil.copytree(Path(sde_ray.__file__).parent, into / "sde_ray", ignore=shutil.ignore_patterns(*IGNORED_FILES))
    text = yaml.safe_dump(values, allow_unicode=True, sort_keys=False)
    (into / SWEEP).write_text(text, encoding="utf-8")
    return _describe_package(into, values, tuple(builder.external_paths), limit_mb)


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


class _PackageBuilder:
    """Copies the files that values name, and rewrites the values to where the copies are."""

    def __init__(self, base: Path, into: Path) -> None:
        self.base, self.into = base, into
        self.external_paths: dict[str, None] = {}
        self._targets: dict[Path, str] = {}

    def tasks(self, tasks: Any) -> Any:
        """The `task` of a sweep: a name, a section, or a list of them."""
        if isinstance(tasks, list):
            return [self.tasks(task) for task in tasks]
        if isinstance(tasks, str):
            name, at, path = tasks.partition("@")
            return f"{name}@{self._copied(path, Path())}" if at else tasks
        if isinstance(tasks, dict) and isinstance(tasks.get("data"), dict):
            data = {
                key: self._copied(value, self.base) if key in DATA_PATHS and isinstance(value, str) else value
                for key, value in tasks["data"].items()
            }
            return {**tasks, "data": data}
        return tasks

    def _copied(self, name: str, base: Path) -> str:
        """Copy a file or folder into the package; its path on the cluster."""
        path = base / name
        if Path(name).is_absolute():
            self.external_paths[name] = None
            return name
        if not path.exists():
            return name  # it may be a name on the hub; the check of the sweep finds out
        source = path.resolve()
        if source not in self._targets:
            self._targets[source] = target = f"data/{len(self._targets)}-{source.name}"
            (self.into / "data").mkdir(exist_ok=True)
            self._copy(source, self.into / target)
        return self._targets[source]

    def modules(self, values: Any) -> None:
        """Copy the modules of the current folder that the values name as "module:NAME"."""
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
            shutil.copytree(source, target, ignore=shutil.ignore_patterns(*IGNORED_FILES))
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


def _describe_package(
    folder: Path, values: dict[str, Any], external_paths: tuple[str, ...], limit_mb: float
) -> Package:
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
        external_paths=external_paths,
    )
