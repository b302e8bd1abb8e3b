"""CSV files: the delimiter is found in the file, quoted values may hold line breaks, every row keeps its line.

    id;text;urgency          ->  Record("line 2", {"id": "7", "text": "no wifi", "urgency": "high"}, "tickets")
    7;no wifi;high

`csv.Sniffer` is not used: it guesses from single characters, and takes a letter or a space for the delimiter of texts.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from pathlib import Path

from sde_ray.data.faults import PlacedFault, raise_faults
from sde_ray.data.records import Record, read_text
from sde_ray.errors import UserError
from sde_ray.safe_json import read_json

DELIMITERS = (",", ";", "\t", "|")
TRIED_CHARACTERS, TRIED_ROWS = 200_000, 50


def read_csv(path: Path) -> list[Record]:
    """The rows below a header; separated by comma, semicolon, tab or bar, whichever fits."""
    text = read_text(path)
    if _is_json(text):
        raise UserError(f"{path} holds JSON, not CSV. Set format: jsonl, or leave the format out: it is recognised.")
    if text[:4].lower() == "sep=":  # Excel's note to itself
        first, _, text = text.partition("\n")
        delimiter, skipped = first.rstrip("\r")[4:5] or ",", 1
    else:
        delimiter, skipped = ("\t" if path.suffix == ".tsv" else find_delimiter(text)), 0
    return _read(path, text, delimiter, skipped)


def _is_json(text: str) -> bool:
    """Whether a text begins with a JSON object or a list of some, as no header of a table does."""
    first = text.lstrip().partition("\n")[0].strip()
    try:
        value = read_json(first)
    except ValueError:
        return first == "["
    return isinstance(value, dict) or (isinstance(value, list) and all(isinstance(one, dict) for one in value))


def _read(path: Path, text: str, delimiter: str, skipped: int) -> list[Record]:
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    records: list[Record] = []
    faults: list[PlacedFault] = []
    start = skipped + 1
    try:
        header = [name.strip() for name in next(rows)]
        twice = sorted(name for name, times in Counter(header).items() if name and times > 1)
        faults += [(f"line {start}", f'the column "{name}" stands twice') for name in twice]
        start = skipped + rows.line_num + 1
        for row in rows:
            position, start = f"line {start}", skipped + rows.line_num + 1
            if row and len(row) != len(header):
                faults.append((position, f"{len(row)} values, the header has {len(header)}"))
            elif row:
                records.append(Record(position, dict(zip(header, row, strict=True)), path.stem))
    except csv.Error as error:
        faults.append((f"line {skipped + rows.line_num}", str(error)))
    named = {"\t": "a tab", ",": "a comma", ";": "a semicolon", "|": "a bar"}.get(delimiter, f'"{delimiter}"')
    remedy = f"Expected one value a column of the header, with {named} between them. Check quotes and delimiters."
    raise_faults(str(path), faults, remedy)
    return records


def find_delimiter(text: str) -> str:
    """The delimiter of a CSV text: the one that cuts most of the first rows into as many values as the header has.

    Of several, the one with more columns; a comma where none cuts anything.
    """
    return max(DELIMITERS, key=lambda delimiter: _fit(text[:TRIED_CHARACTERS], delimiter))


def _fit(text: str, delimiter: str) -> tuple[float, int]:
    """How well a delimiter fits: the share of rows that are as long as the header, and the number of columns."""
    lengths: list[int] = []
    try:
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter):
            lengths += [len(row)] if row else []
            if len(lengths) > TRIED_ROWS:
                break
    except csv.Error:
        pass
    if not lengths or lengths[0] < 2:
        return 0.0, 0
    same = sum(length == lengths[0] for length in lengths) / len(lengths)
    return round(same, 1), lengths[0]  # rounded: a row or two that a quote spoils do not decide
