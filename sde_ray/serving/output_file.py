"""Output file: rows of answers that a second attempt continues where the first one ended.

    with OutputFile.open(Path("out.jsonl"), {"adapter": "5f0c...", "text_key": "text"}) as output:
        rows = output.skip_answered(read_rows(file))     compares what is there with the input, and gives the rest
        output.write([b'{"text": ...}\\n', ...])          a chunk at a time

What has made the file stands beside it, in `out.jsonl.predict.json`. Each row that is there must be that of the input's
row in the same place, so that nothing is continued that belongs to another input or adapter. A last line that was cut
off is dropped. While one process writes, no other can.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from sde_ray.errors import UserError
from sde_ray.safe_json import read_json
from sde_ray.serving.jsonl_rows import InputRow, own_fields
from sde_ray.storage.files import write_atomic

MADE_BY = ".predict.json"
OTHERWISE = "Give another --output, or --overwrite to begin anew."


class OutputFile:
    """An output file that is open for writing, at the end of the rows that it has."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path, self._file = path, file
        self.rows = self.errors = 0  # that were there

    @classmethod
    def open(cls, path: Path, made_by: Mapping[str, Any], overwrite: bool = False) -> OutputFile:
        """Open, and lock.

        Args:
            path: the file; made where there is none.
            made_by: what a file must have been made by, so that it can be continued.
            overwrite: begin anew, whatever is there.

        Raises:
            UserError: where it cannot be written, another process writes it, or something else has made it.
        """
        try:
            file = path.open("r+b" if path.exists() else "x+b")
        except OSError as error:
            raise UserError(f"--output {path} cannot be written: {error.strerror}.") from None
        try:
            _lock(file, path)
            if overwrite:
                file.truncate()
            elif os.fstat(file.fileno()).st_size:
                _check_maker(path, made_by)
            write_atomic(path.with_name(path.name + MADE_BY), output_json(made_by))
        except BaseException:
            file.close()
            raise
        return cls(path, file)

    def skip_answered(self, rows: Iterator[InputRow]) -> Iterator[InputRow]:
        """The rows of the input that have no answer here yet.

        Raises UserError where a row that is here is not that of the input in its place.
        """
        end, self.rows, self.errors = 0, 0, 0
        self._file.seek(0)
        while (line := self._file.readline()).endswith(b"\n"):
            row = next(rows, None)
            answered = _read(line)
            if row is None or answered is None or not _is_answer_to(answered, row):
                there = "the input ends before it" if row is None else f"line {row.number} of the input is another one"
                raise UserError(
                    f"Row {self.rows + 1} of --output {self.path} does not belong to this --input: {there}. {OTHERWISE}"
                )
            end, self.rows, self.errors = self._file.tell(), self.rows + 1, self.errors + ("error" in answered)
        self._file.seek(end)
        self._file.truncate()  # a line that was cut off
        return rows

    def write(self, lines: Sequence[bytes]) -> None:
        """Append rows; they are the system's when this returns, so that they outlive this process."""
        self._file.write(b"".join(lines))
        self._file.flush()

    def __enter__(self) -> OutputFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()


def output_json(made_by: Mapping[str, Any]) -> str:
    """What stands beside an output file."""
    from json import dumps

    return dumps(made_by, ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def _lock(file: BinaryIO, path: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(f"Another sde-ray predict is writing --output {path}. Wait for it, or give another.") from None
    except OSError:
        pass  # a file system without locks


def _check_maker(path: Path, made_by: Mapping[str, Any]) -> None:
    """Raises UserError unless the file was made by the same."""
    try:
        before = read_json(path.with_name(path.name + MADE_BY).read_bytes())
    except (OSError, ValueError):
        raise UserError(
            f"--output {path} is there already, and nothing beside it ({path.name + MADE_BY}) tells that sde-ray "
            f"predict has made it. {OTHERWISE}"
        ) from None
    other = [name for name, value in made_by.items() if not isinstance(before, dict) or before.get(name) != value]
    if other:
        raise UserError(f"--output {path} was made with another {' and '.join(other)}. {OTHERWISE}")


def _read(line: bytes) -> dict[str, Any] | None:
    try:
        value = read_json(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _is_answer_to(answered: Mapping[str, Any], row: InputRow) -> bool:
    own = own_fields(row)
    done = "error" in answered or "answer" in answered
    same_error = not row.error or answered.get("error") == row.error
    return done and same_error and all(name in answered and answered[name] == value for name, value in own.items())
