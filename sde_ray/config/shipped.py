"""The sweeps that come with the package, by name: `sde-ray run quickstart` works in any folder.

find_sweep(Path("quickstart"))         the shipped file, where no file of this name is here
find_sweep(Path("mine/hotels.yaml"))   that file

In a wheel they lie inside the package, in a checkout beside it (`sweeps/`).
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from sde_ray.errors import UserError, suggest
from sde_ray.safe_yaml import read_yaml

PACKAGE = Path(__file__).parents[1]
FOLDERS = (PACKAGE / "shipped_sweeps", PACKAGE.parent / "sweeps")
SUFFIX = ".yaml"
DATA = (".jsonl", ".csv", ".tsv", ".parquet", ".arrow")
_SENTENCE_END = re.compile(r"(?<=[.?])(?<!al\.) ")  # "et al. 2024" goes on


@cache
def shipped_sweeps() -> Mapping[str, Path]:
    """Every shipped sweep by its name."""
    for folder in FOLDERS:
        if (folder / "quickstart.yaml").is_file():
            return {path.stem: path for path in sorted(folder.glob(f"*{SUFFIX}"))}
    return {}


def find_sweep(path: Path) -> Path:
    """A sweep's file: the path, or where nothing lies there, the shipped sweep of this bare name.

    Raises UserError: when there is no such file, but a shipped sweep of its name; or when the file is data.
    """
    if path.suffix.lower() in DATA and path.is_file():
        raise UserError(f'"{path}" is data, no sweep. sde-ray init {path} looks at it and writes the YAML of a sweep.')
    sweeps = shipped_sweeps()
    if path.stem not in sweeps:
        near = suggest(path, sweeps) if path == Path(path.stem) and not os.path.exists(path) else ""
        if near:
            raise UserError(f'There is no file "{path}".{near} That is a sweep of the package (sde-ray demo --list).')
        return path
    if path.exists():
        return path
    if path == Path(path.stem):
        return sweeps[path.stem]
    if path in (Path(f"{path.stem}{SUFFIX}"), Path("sweeps", f"{path.stem}{SUFFIX}")):
        raise UserError(
            f'There is no file "{path}" here. A sweep of this name comes with the package: give {path.stem}, as in '
            f"sde-ray plan {path.stem}; or sde-ray demo {path.stem} --copy, which puts it here."
        )
    return path


def shipped_sweep(name: str) -> Path:
    """The file of a shipped sweep. Raises UserError: when there is none of this name."""
    sweeps = shipped_sweeps()
    if name not in sweeps:
        raise UserError(f'No shipped sweep is called "{name}".{suggest(name, sweeps)} There are: {", ".join(sweeps)}.')
    return sweeps[name]


def title(path: Path) -> str:
    """What a shipped sweep says of itself: the first sentence of its first lines."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("# "):
            break
        lines.append(line.removeprefix("# "))
    return _SENTENCE_END.split(" ".join(lines))[0]


def copy_sweep(name: str, folder: Path, force: bool = False) -> list[Path]:
    """Copy a shipped sweep, and the data files that it names, into a folder; returns the copies.

    Raises UserError: when a file is there already, unless `force`.
    """
    path = shipped_sweep(name)
    task = read_yaml(path).get("task")
    data = task.get("data") if isinstance(task, dict) else None
    named = [value for value in (data or {}).values() if isinstance(value, str) and (path.parent / value).is_file()]
    sources = [path, *(path.parent / value for value in named)]
    taken = [source.name for source in sources if (folder / source.name).exists()]
    if taken and not force:
        raise UserError(f"{', '.join(taken)} is here already. Use it, or add --force to write over it.")
    return [Path(shutil.copyfile(source, folder / source.name)) for source in sources]
