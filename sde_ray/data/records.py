"""Records of a file: bytes are checked, and every record keeps its position in the file, for messages.

    '{"id": "a", "text": "good soup"}\\n'  ->  Record("line 1", {"id": "a", "text": "good soup"}, "train")

Text files are read here and not by `datasets`, whose readers give no line numbers, merge unlike records into one table
and stop at the first fault; tables (parquet, arrow) and the hub go through `datasets` (`hub.py`).
"""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sde_ray.data.faults import raise_faults
from sde_ray.errors import UserError
from sde_ray.safe_json import read_json as read_json_text


@dataclass(frozen=True)
class Record:
    """One record of a file, with its position in it ("line 3") and the file's name without suffix."""

    position: str
    fields: Any
    file: str

    @property
    def name(self) -> str:
        """The id of an example whose record has none: "train:3"."""
        return f"{self.file}:{self.position.split()[-1]}"


UTF_16 = (b"\xff\xfe", b"\xfe\xff")  # the mark that Excel's "Unicode text" begins with; no UTF-8 can
SIGNATURES = (
    (b"PK\x03\x04", "a zip archive, as Excel's .xlsx files are. Save the sheet as CSV, or unpack it."),
    (b"\x1f\x8b", "compressed (gzip). Unpack it: gunzip --keep FILE."),
    (b"PAR1", "a Parquet file under another name. Give it the ending .parquet."),
    (b"%PDF", "a PDF. Write its texts as JSON lines or CSV."),
    (b"SQLite format 3", "an SQLite database. Write the table as CSV."),
    (b"\xd0\xcf\x11\xe0", "an old Excel or Word file. Save the sheet as CSV."),
)
_WRAPPED = re.compile(r'\s*\{\s*"(data|rows|examples|records|items|samples|train)"\s*:\s*\[')


class BadRecord(ValueError):
    """A record that cannot be an example, with its faults; raised by converters, collected by `Format.examples`."""

    def __init__(self, *faults: str) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


def read_text(path: Path) -> str:
    """The file's text. A byte-order mark is dropped; what is missing, empty or not Unicode is a `UserError`."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"There is no file {path}. Give the path of a data file that exists.") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}. Give a readable file.") from error
    for signature, what in SIGNATURES:
        if data.startswith(signature):
            raise UserError(f"{path} is {what}")
    try:
        text = data.decode("utf-16" if data[:2] in UTF_16 else "utf-8-sig")
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
    """JSON lines, or one JSON list, alone or in an object. Blank lines are skipped; every broken line is reported."""
    text = read_text(path)
    if text.lstrip().startswith("["):
        return _json_list(path, text)
    wrapped = _WRAPPED.match(text)
    if wrapped and (items := _wrapped_list(text, wrapped[1])):
        return [Record(f"record {number}", item, path.stem) for number, item in enumerate(items, start=1)]
    records, faults = [], []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                records.append(Record(f"line {number}", read_json_text(line), path.stem))
            except ValueError as error:
                faults.append((f"line {number}", f"not JSON: {_reason(error)}: {short(line)}"))
    raise_faults(str(path), faults, "Expected one JSON object a line. Repair or delete these lines.")
    return records


def _wrapped_list(text: str, name: str) -> list[Any]:
    """The list under the first key of a file that is one object, {"data": [...]}; empty where it is none."""
    try:
        value = read_json_text(text)
    except ValueError:
        return []
    items = value.get(name) if isinstance(value, dict) else None
    return items if isinstance(items, list) and all(isinstance(item, dict) for item in items) else []


def _json_list(path: Path, text: str) -> list[Record]:
    try:
        items = read_json_text(text)
    except ValueError as error:
        line = f"line {error.lineno}: " if isinstance(error, json.JSONDecodeError) else ""
        raise UserError(f"{path} is not a JSON list: {line}{_reason(error)}. Repair the file.") from None
    return [Record(f"record {number}", item, path.stem) for number, item in enumerate(items, start=1)]


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
        raise BadRecord(f'"{name}" is {short(repr(value))}, expected a list of numbers')
    return _all(value, int, name)


def _all(values: list[Any], kind: type, name: str) -> list[Any]:
    wrong = [value for value in values if not isinstance(value, kind)]
    if wrong:
        raise BadRecord(f'"{name}" holds {short(repr(wrong[0]))}, expected a {kind.__name__}')
    return values


def field(fields: Any, name: str, kind: type | tuple[type, ...]) -> Any:
    """The value of a record's key; `BadRecord` where it is missing or not of the `kind`."""
    if not isinstance(fields, dict):
        raise BadRecord(f"expected a JSON object, found {short(json.dumps(fields, ensure_ascii=False))}")
    if name not in fields:
        raise BadRecord(f'the key "{name}" is missing')
    if not isinstance(fields[name], kind):
        names = " or ".join(k.__name__ for k in (kind if isinstance(kind, tuple) else (kind,)))
        raise BadRecord(f'"{name}" is {short(repr(fields[name]))}, expected a {names}')
    return fields[name]


def _reason(error: Exception) -> str:
    return f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)


def short(text: str, size: int = 60) -> str:
    """The beginning of a text, for a message."""
    return text if len(text) <= size else text[: size - 3] + "..."
