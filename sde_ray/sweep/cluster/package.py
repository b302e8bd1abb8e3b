"""The files of a job on a cluster: this package, the sweep's YAML and its own files, and nothing else.

    package = build_package(Path("sweeps/hotels.yaml"), ("seeds=[0,1]",), into=folder)
    package.bytes, package.digest          # the same sweep gives the same digest, so Ray uploads it once

    folder/sweep.yaml                      with the overrides in it
    folder/data/0/hotels.jsonl             data that the YAML names by a relative path
    folder/tasks/reviews.yaml              tasks in YAML files, with their data
    folder/my_axes.py                      modules of the user's own that the YAML names ("my_axes:TABS"), and what they
                                           import of the user's own
    folder/sde_ray/...                     so that the cluster runs this version of the code

Absolute paths are the cluster's own (a mounted data set, a model on shared disk): they stay as they are. No link is
followed out of the folder that is sent.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import yaml

import sde_ray
from sde_ray.config.load import DATA_PATHS, refuse_masked
from sde_ray.config.names import named_code
from sde_ray.config.shipped import find_sweep
from sde_ray.errors import UserError
from sde_ray.plugins import is_importable, own_sources
from sde_ray.safe_json import stream_hash
from sde_ray.safe_yaml import assign, read_yaml
from sde_ray.storage.layout import SWEEP
from sde_ray.storage.uri import MEMORY, checked, is_uri, scheme
from sde_ray.tasks import YAML
from sde_ray.tasks.custom import code_in

LIMIT_MB = 100.0
IGNORED_FILES = ("__pycache__", "*.pyc", ".git", ".venv", "*.egg-info")


@dataclass(frozen=True)
class Package:
    """A folder that is ready to be sent. `external_paths`: paths and modules that must exist on the cluster."""

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
        sweep: its YAML file, or the name of a shipped one.
        sets: overrides of the YAML, "key=value".
        into: an empty folder.
        limit_mb: largest size, in MiB.

    Raises:
        UserError: when the package is larger, the cluster's nodes could not reach the sweep's storage, or its model is
            a folder of this machine.
    """
    sweep = find_sweep(sweep)
    values: dict[str, Any] = {"name": sweep.stem, **read_yaml(sweep)}
    for setting in sets:
        assign(values, setting)
    refuse_masked(values)
    _check_storage(values)
    builder = _PackageBuilder(sweep.parent, into)
    builder.models(values.get("model"))
    modules = named_code(values)
    for key in ("task", "out_of_domain"):
        if key in values:
            values[key] = builder.tasks(values[key])
    general = values.get("general")
    if isinstance(general, dict) and isinstance(general.get("path"), str):
        values["general"] = {**general, "path": builder.copied(general["path"], builder.base)}
    builder.modules(modules)
    _copy(Path(sde_ray.__file__).parent, into / "sde_ray")
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

    def models(self, models: Any) -> None:
        """The `model` of a sweep; a folder of this machine is refused before a cluster is paid for that lacks it."""
        for name in models if isinstance(models, list) else [models]:
            if not isinstance(name, str) or (Path(sde_ray.__file__).parent / "models" / name / "config.json").is_file():
                continue
            path = Path(name).expanduser()
            if name.startswith(("./", "../", "~")) or (not path.is_absolute() and path.exists()):
                raise UserError(
                    f'model is "{name}", a folder of this machine, and models are not sent. Put it on the storage that '
                    f"all nodes share, and give its absolute path there (--set model=/shared/models/{path.name}), or "
                    "the model's name on the hub."
                )
            if path.is_absolute():
                self.external_paths[name] = None

    def tasks(self, tasks: Any, base: Path = Path()) -> Any:
        """The `task` of a sweep, a name, a section, or a list of them; names of files start at `base`."""
        if isinstance(tasks, list):
            return [self.tasks(task, base) for task in tasks]
        if isinstance(tasks, str):
            name, at, path = ("", "", "") if is_uri(tasks) else tasks.partition("@")
            if at:
                return f"{name}@{self._dataset(path, base)}"
            return self._task_file(tasks) if tasks.endswith(YAML) and not is_uri(tasks) else tasks
        if isinstance(tasks, dict):
            return self._section(tasks, self.base, Path())
        return tasks

    def _dataset(self, location: str, base: Path) -> str:
        """What follows the @ in a task's name: a path, or `format:path`."""
        format_name, colon, path = location.partition(":")
        if colon and not (base / location).exists():
            return f"{format_name}:{self.copied(path, base)}"
        return self.copied(location, base)

    def _task_file(self, name: str) -> str:
        """A task's YAML file with its data, under the same name where that stays in the package: the trials have it."""
        path = Path(name)
        if path.is_absolute():
            self.external_paths[name] = None
            return name
        if not path.is_file():
            raise UserError(f'There is no file "{name}" here. Submit from the folder that the task\'s path starts at.')
        target = Path(*path.parts) if ".." not in path.parts else Path("tasks", path.name)
        section = self._section(read_yaml(path), path.parent, target.parent)
        self.modules(code_in(section))
        (self.into / target).parent.mkdir(parents=True, exist_ok=True)
        (self.into / target).write_text(yaml.safe_dump(section, allow_unicode=True, sort_keys=False), encoding="utf-8")
        return str(target)

    def _section(self, section: dict[str, Any], base: Path, target: Path) -> dict[str, Any]:
        """A task's section, its data copied; its paths start at `base`, in the package at `target`."""
        section = dict(section)
        if isinstance(section.get("data"), dict):
            section["data"] = {
                key: self._relative(self.copied(value, base), target)
                if key in (*DATA_PATHS, "hub") and isinstance(value, str)
                else value
                for key, value in section["data"].items()
            }
        if "domains" in section:
            section["domains"] = self.tasks(section["domains"])
        return section

    def _relative(self, name: str, folder: Path) -> str:
        """A path in the package as seen from one of its folders; other names stay."""
        return os.path.relpath(name, folder) if name in self._targets.values() else name

    def copied(self, name: str, base: Path) -> str:
        """Copy a file or folder into the package; its path on the cluster."""
        path = base / name
        if Path(name).is_absolute():
            self.external_paths[name] = None
            return name
        if not path.exists():
            return name  # it may be a name on the hub; the check of the sweep finds out
        source = path.resolve()
        if source not in self._targets:
            self._targets[source] = target = f"data/{len(self._targets)}/{source.name}"
            (self.into / target).parent.mkdir(parents=True, exist_ok=True)
            _copy(source, self.into / target)
        return self._targets[source]

    def modules(self, modules: Iterable[str]) -> None:
        """Copy the modules, with all that they import, that are the user's own; wherever they are imported from."""
        modules = list(modules)
        for name, source in own_sources(modules).items():
            if not (self.into / name).exists():
                _copy(source, self.into / name)
        for module in modules:
            if not is_importable(module):
                self.external_paths[f"the module {module}"] = None


def _copy(source: Path, target: Path) -> None:
    """Copy a file, or a folder without what no job needs. Raises UserError for a link that leads out of the folder."""
    if source.is_file():
        shutil.copyfile(source, target)
        return
    inside = source.resolve()
    for folder, folders, files in os.walk(source):
        folders[:] = sorted(name for name in folders if not _is_ignored(name))
        copy = target / Path(folder).relative_to(source)
        copy.mkdir(parents=True, exist_ok=True)
        for name in sorted(name for name in (*files, *folders) if not _is_ignored(name)):
            path = Path(folder, name)
            if path.is_symlink() and (name in folders or not path.resolve().is_relative_to(inside)):
                raise UserError(
                    f"{path} is a link to {path.resolve()}, and links are not followed into a package: whoever may "
                    "open the cluster's dashboard can read it. Put the file itself in its place, or take it out."
                )
            if path.is_file():
                shutil.copyfile(path, copy / name)


def _is_ignored(name: str) -> bool:
    return any(fnmatch(name, pattern) for pattern in IGNORED_FILES)


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
