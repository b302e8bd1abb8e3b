"""Hugging Face datasets: hub names, dataset folders, and table files (parquet, arrow), by the `datasets` library.

`datasets` is imported inside the functions, as the core imports nothing heavy. No code of a data set is ever run.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from sde_ray.data.records import Record
from sde_ray.errors import UserError

TABLES = {".parquet": "parquet", ".arrow": "arrow"}


def read_hub(name: str, split: str, config: str | None = None, revision: str | None = None) -> list[Record]:
    """The records of one split of a hub data set ("owner/name") or of a dataset folder; classes as their names."""
    import datasets

    datasets.disable_progress_bars()
    try:
        if _is_saved(name):
            table = datasets.load_from_disk(name)[split]
        else:
            table = datasets.load_dataset(name, config, split=split, revision=revision)
    except Exception as error:  # the library raises many kinds; each means that these rows cannot be had
        raise UserError(
            f'The data set "{name}" (split "{split}") cannot be loaded: {type(error).__name__}: {_first_line(error)}. '
            "Check the name, the split and the connection to the hub, or give a local path."
        ) from error
    return _records(table, f"{name}:{split}")


def split_names(name: str, config: str | None = None, revision: str | None = None) -> list[str]:
    """The splits that a hub data set or dataset folder has."""
    import datasets

    try:
        if _is_saved(name):
            return list(datasets.load_from_disk(name))
        return list(datasets.get_dataset_split_names(name, config, revision=revision))
    except Exception as error:  # as above
        raise UserError(
            f'The data set "{name}" cannot be found: {type(error).__name__}: {_first_line(error)}. '
            "Check the name and the connection to the hub, or give a local path."
        ) from error


def read_table(path: Path) -> list[Record]:
    """The records of a parquet or arrow file. The cache is thrown away, so a changed file is never served stale."""
    import datasets

    datasets.disable_progress_bars()
    if not path.exists():
        raise UserError(f"There is no file {path}. Give the path of a data file that exists.")
    kind = TABLES[path.suffix]
    with tempfile.TemporaryDirectory() as cache:
        try:
            table = datasets.load_dataset(
                kind, data_files=str(path), split="train", cache_dir=cache, keep_in_memory=True
            )
        except Exception as error:  # as above
            raise UserError(f"{path} is no {kind} file: {_first_line(error)}. Write it anew.") from error
        return _records(table, path.stem)


def _records(table: Any, source: str) -> list[Record]:
    """Rows as plain dicts, with class numbers turned into the names of their classes."""
    names = {column: found for column, feature in table.features.items() if (found := _class_names(feature))}

    def named(column: str, value: Any) -> Any:
        if isinstance(value, list):
            return [named(column, one) for one in value]
        return names[column][value] if isinstance(value, int) and value >= 0 else value

    def plain(row: dict[str, Any]) -> dict[str, Any]:
        return {column: named(column, value) if column in names else value for column, value in row.items()}

    return [Record(f"row {number}", plain(row), source) for number, row in enumerate(table, start=1)]


def _class_names(feature: Any) -> list[str]:
    """The names of a column's classes, or of those in its lists (the tags of words); empty for any other column."""
    return list(getattr(feature, "names", None) or getattr(getattr(feature, "feature", None), "names", None) or [])


def _is_saved(name: str) -> bool:
    """Whether `name` is a folder written by `DatasetDict.save_to_disk`."""
    return (Path(name) / "dataset_dict.json").is_file()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no reason given"])[0].rstrip(".")
