"""Records of a file: bytes are checked, and every record keeps its position in the file, for messages.

    '{"id": "a", "text": "good soup"}\\n'  ->  Record("line 1", {"id": "a", "text": "good soup"}, "train")

Text files are read here and not by `datasets`, whose readers give no line numbers, merge unlike records into one table
and stop at the first fault; tables (parquet, arrow) and the hub go through `datasets` (`hub.py`). All faults of a file
are shown together, ten at most.
"""

from __future__ import annotations

import csv
import io
import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sde_ray.errors import UserError
from sde_ray.safe_json import read_json as read_json_text

SHOWN_FAULTS = 10


@dataclass(frozen=True)
class Record:
    """One record of a file, with its position in it ("line 3") and the file's name without suffix."""

    position: str
    fields: Any
    file: str


class BadRecord(ValueError):
    """A record that cannot be an example; raised by converters, collected by `Format.examples`."""


def raise_faults(title: str, faults: Sequence[str], remedy: str) -> None:
    """Raise one `UserError` with the faults (ten are shown, all are counted) and the remedy, if there are any."""
    if faults:
        more = [f"... and {len(faults) - SHOWN_FAULTS} more"] if len(faults) > SHOWN_FAULTS else []
        shown = "\n".join(f"  - {fault}" for fault in [*faults[:SHOWN_FAULTS], *more])
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        raise UserError(f"{title}: {count}\n{shown}\n{remedy}")


def read_text(path: Path) -> str:
    """The file's text. A byte-order mark is dropped; what is missing, empty or not UTF-8 is a `UserError`."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"There is no file {path}. Give the path of a data file that exists.") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}. Give a readable file.") from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        at = error.start + (3 if data.startswith(b"\xef\xbb\xbf") else 0)
        line = data[:at].count(b"\n") + 1
        raise UserError(
            f"{path} is not UTF-8: byte 0x{data[at]:02x} at offset {at}, line {line}. "
            f"Convert it, for example: iconv -f latin1 -t utf-8 {path.name} > utf8-{path.name}"
        ) from None
    if not text.strip():
        raise UserError(f"{path} is empty. Expected one record or more.")
    return text


def read_json(path: Path) -> list[Record]:
    """JSON lines, or one JSON list. Blank lines are skipped; every broken line is reported."""
    text = read_text(path)
    if text.lstrip().startswith("["):
        return _json_list(path, text)
    records, faults = [], []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                records.append(Record(f"line {number}", read_json_text(line), path.stem))
            except ValueError as error:
                faults.append(f"line {number} is not JSON: {_reason(error)}: {_short(line)}")
    raise_faults(str(path), faults, "Expected one JSON object a line. Repair or delete these lines.")
    return records


def _json_list(path: Path, text: str) -> list[Record]:
    try:
        items = read_json_text(text)
    except ValueError as error:
        line = f"line {error.lineno}: " if isinstance(error, json.JSONDecodeError) else ""
        raise UserError(f"{path} is not a JSON list: {line}{_reason(error)}. Repair the file.") from None
    return [Record(f"record {number}", item, path.stem) for number, item in enumerate(items, start=1)]


def read_csv(path: Path) -> list[Record]:
    """CSV with a header (tab-separated for .tsv); quoted values may hold line breaks."""
    rows = csv.reader(io.StringIO(read_text(path), newline=""), delimiter="\t" if path.suffix == ".tsv" else ",")
    records, faults, start = [], [], 1
    try:
        header = next(rows)
        start = rows.line_num + 1
        for row in rows:
            position, start = f"line {start}", rows.line_num + 1
            if row and len(row) != len(header):
                faults.append(f"{position}: {len(row)} values, the header has {len(header)}")
            elif row:
                records.append(Record(position, dict(zip(header, row, strict=True)), path.stem))
    except csv.Error as error:
        faults.append(f"line {rows.line_num}: {error}")
    raise_faults(str(path), faults, "Expected one value a column of the header. Check quotes and commas.")
    return records


def read_xml(path: Path, tag: str) -> list[Record]:
    """The elements `tag` of an XML file."""
    text = read_text(path).lstrip()
    if "<!ENTITY" in text:  # a few of them can stand for gigabytes, and no data set here has any
        raise UserError(
            f"{path} declares entities of its own (<!ENTITY), which are not read. Write out what they mean."
        )
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise UserError(f"{path} is not XML: {error}. Repair the file.") from None
    return [Record(f"{tag} {n}", element, path.stem) for n, element in enumerate(root.iter(tag), start=1)]


def read_folder(path: Path, read: Callable[[Path], list[Record]], pattern: str) -> list[Record]:
    """The records of a file, or of all files of a folder that match `pattern`, by name."""
    if not path.is_dir():
        return read(path)
    files = sorted(path.glob(pattern))
    if not files:
        raise UserError(f"{path} has no file {pattern}. Give a folder that has some.")
    return [
        Record(f"{file.name} {record.position}", record.fields, record.file) for file in files for record in read(file)
    ]


def strings(fields: Any, name: str) -> list[str]:
    """The list of strings under a record's key; `BadRecord` for anything else."""
    return _all(field(fields, name, list), str, name)


def numbers(value: Any, name: str) -> list[int]:
    """A list of whole numbers, one or more; `BadRecord` for anything else."""
    if not isinstance(value, list) or not value:
        raise BadRecord(f'"{name}" is {_short(repr(value))}, expected a list of numbers')
    return _all(value, int, name)


def _all(values: list[Any], kind: type, name: str) -> list[Any]:
    wrong = [value for value in values if not isinstance(value, kind)]
    if wrong:
        raise BadRecord(f'"{name}" holds {_short(repr(wrong[0]))}, expected a {kind.__name__}')
    return values


def field(fields: Any, name: str, kind: type | tuple[type, ...]) -> Any:
    """The value of a record's key; `BadRecord` where it is missing or not of the `kind`."""
    if not isinstance(fields, dict):
        raise BadRecord(f"expected a JSON object, found {_short(json.dumps(fields, ensure_ascii=False))}")
    if name not in fields:
        raise BadRecord(f'the key "{name}" is missing')
    if not isinstance(fields[name], kind):
        names = " or ".join(k.__name__ for k in (kind if isinstance(kind, tuple) else (kind,)))
        raise BadRecord(f'"{name}" is {_short(repr(fields[name]))}, expected a {names}')
    return fields[name]


def _reason(error: Exception) -> str:
    return f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)


def _short(text: str, size: int = 60) -> str:
    return text if len(text) <= size else text[: size - 3] + "..."
