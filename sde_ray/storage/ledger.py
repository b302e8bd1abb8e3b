"""The ledger of a sweep: one JSON line a trial that ended, in `ledger.jsonl`. Finished = the ledger has it.

    ledger = Ledger(folder / "ledger.jsonl")
    ledger.append(result)                  # on disk when it returns: written, flushed, synced
    ledger.results()["5f0c..."].scores     # a finished entry wins over a pruned, a pruned over a failed, then the later

A process that dies while it writes leaves a torn last line. A bad line costs that line only: readers leave it out and
say so, the next driver sets it aside in `ledger.jsonl.torn` (`repair`), and the trial runs again. Writers of several
processes exclude each other by a file lock. Readers need none, nor the right to write: a line is written at once, and
whatever else is done to the file replaces it as a whole.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from sde_ray.errors import UserError
from sde_ray.plugins import code_of, untrusted
from sde_ray.safe_json import content_hash, read_json
from sde_ray.safe_text import redact
from sde_ray.storage.file_lock import LOCK, exclusive
from sde_ray.storage.files import write_atomic
from sde_ray.types import TrialResult, key_values

SCHEMA = 2  # 1: version 0.1, whose trials carry settings of other names, so that no key of theirs is met again
_TAIL_SECONDS = 0.05  # between two looks at a last line without an end: it is torn, or just being written
# Of a result: on its line only where it says something.
ONLY_WHERE_SET = ("curation", "environment", "out_of_memory", "skipped_steps", "general")
RANK = {"failed": 0, "pruned": 1, "finished": 2}
_RESULT = TypeAdapter(TrialResult)


@dataclass(frozen=True)
class _Described:
    """What every trial's configuration tells."""

    task: str
    design: dict[str, str]


_DESCRIBED = TypeAdapter(_Described)


def to_json(result: TrialResult) -> dict[str, Any]:
    """A result as plain JSON values; its error without secrets."""
    plain: dict[str, Any] = {"schema": SCHEMA, **asdict(result), "error": redact(result.error)}
    return {name: value for name, value in plain.items() if value or name not in ONLY_WHERE_SET}


def from_json(plain: Any) -> TrialResult:
    """The inverse of `to_json`; ValueError for anything else, values of other types included."""
    result = _RESULT.validate_python(plain)
    _DESCRIBED.validate_python(result.config)
    if not re.fullmatch(r"\w[\w.-]*", result.key):  # it names the trial's folder
        raise ValueError(f"key {result.key!r}")
    return result


def has_own_key(result: TrialResult) -> bool:
    """Whether the key is that of the configuration (`TrialConfig.key`): else the result is not of this trial."""
    return result.key == content_hash(key_values(result.config))


def _names(result: TrialResult) -> list[object]:
    """What of a result's configuration may be an import path."""
    return [entry for pair in result.config["design"].items() for entry in pair]


def supersedes(result: TrialResult, earlier: TrialResult | None) -> bool:
    """Whether a result counts instead of an earlier one of its trial."""
    return earlier is None or RANK[result.status] >= RANK[earlier.status]


class Ledger:
    """The file of results; made with its folder when the first one is appended.

    Args:
        path: The file.
        appended: Called after each result that was appended.
        fence: Called before each, under the file's lock; raises UserError where this process may not write any more.
            With it, nor may it once another one has written since `repair`: its results are not known here.
        verify: What `verify` does; by default the fence.
    """

    def __init__(
        self,
        path: Path,
        appended: Callable[[], object] | None = None,
        fence: Callable[[], object] | None = None,
        verify: Callable[[], object] | None = None,
    ) -> None:
        self.path, self._appended, self._fence, self._verify = Path(path), appended, fence, verify or fence
        self._size: int | None = None  # as this process has left the file, where it alone writes

    def entries(self) -> list[TrialResult]:
        """Every line that can be used, in the order of writing; the file stays as it is, and what is left out is said.

        A line is left out that is no result, whose key is not that of its configuration, or that names code which the
        user has not named. Needs no right to write.
        """
        lines, unreadable = self._read()
        if unreadable:
            warnings.warn(
                f'"{self.path}" has {len(unreadable)} line(s) that are no result of this sweep. They are left out; the '
                "trials of these lines run again when the sweep does.",
                stacklevel=3,
            )
        return [result for _, result in self._believable(lines)]

    def repair(self) -> dict[str, TrialResult]:
        """Set aside the lines that are no result, in `ledger.jsonl.torn`; returns the `results`, read in the same pass.

        For the driver, which alone writes here.
        """
        lines: list[tuple[bytes, TrialResult]] = []
        if self.path.exists():
            with exclusive(self._lock_path):
                lines, unreadable = self._parse()
                if unreadable:
                    self._set_aside(unreadable, [line for line, _ in lines])
                self._size = self._size_now()
        else:
            self._size = 0
        return _counting(result for _, result in self._believable(lines))

    def _believable(self, lines: Sequence[tuple[bytes, TrialResult]]) -> Iterator[tuple[bytes, TrialResult]]:
        foreign: set[str] = set()
        for line, result in lines:
            modules = untrusted(code_of(" ".join(map(str, _names(result)))))
            foreign.update(modules)
            if not modules:
                yield line, result
        if foreign:
            flags = " ".join(f"--trust-code {module}" for module in sorted(foreign))
            warnings.warn(
                f'"{self.path}" has results of trials that name code which you have not named yourself. They are left '
                f"out. If it is yours, give the sweep's own YAML file, or add {flags}.",
                stacklevel=4,
            )

    def results(self) -> dict[str, TrialResult]:
        """The entry that counts for each key."""
        return _counting(self.entries())

    def append(self, result: TrialResult) -> None:
        """Write one result; it is on disk when this returns. `UserError` where the disk refuses it."""
        line = json.dumps(to_json(result), ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with exclusive(self._lock_path):
                self._check_fence()
                self._write(line)
                self._size = None if self._size is None else self._size_now()
        except OSError as error:
            raise UserError(_refusal(self.path, error)) from error
        if self._appended is not None:
            self._appended()

    def verify(self) -> None:
        """Raises UserError: another driver has taken the sweep over, and no result of this one is wanted any more."""
        if self._verify is not None:
            self._verify()

    def _write(self, line: bytes) -> None:
        with self.path.open("ab", buffering=0) as file:  # a buffer would be written once more when the file is closed
            size = file.seek(0, os.SEEK_END)
            if size and not self._ends_with_newline():
                line = b"\n" + line  # a torn line of a dead writer must not swallow this one
            try:
                while line:  # a disk that fills up takes the first part of a line, and refuses the next
                    line = line[file.write(line) :]
                os.fsync(file.fileno())
            except OSError:
                with suppress(OSError):  # the first refusal is the one to tell
                    os.truncate(self.path, size)  # half a line is worse than none
                raise

    def _ends_with_newline(self) -> bool:
        with self.path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"

    def _read(self) -> tuple[list[tuple[bytes, TrialResult]], list[bytes]]:
        """The lines, as they are at the moment."""
        if not self.path.exists():
            return [], []
        lines, unreadable = self._parse()
        if unreadable and not self._ends_with_newline():
            time.sleep(_TAIL_SECONDS)
            lines, unreadable = self._parse()
        return lines, unreadable

    def _parse(self) -> tuple[list[tuple[bytes, TrialResult]], list[bytes]]:
        """The lines with their results, and the lines that are none."""
        lines: list[tuple[bytes, TrialResult]] = []
        unreadable: list[bytes] = []
        for number, line in enumerate(self.path.read_bytes().split(b"\n"), 1):
            if not line.strip():
                continue
            try:
                plain = read_json(line)
                self._check_schema(plain, number)
                result = from_json(plain)
                if not has_own_key(result):
                    raise ValueError(f"key {result.key}")
                lines.append((line, result))
            except ValueError:
                unreadable.append(line)
        return lines, unreadable

    def _check_schema(self, plain: Any, number: int) -> None:
        if not isinstance(plain, dict) or not isinstance(plain.get("schema"), int):
            raise ValueError("no line of a ledger")
        if plain["schema"] == SCHEMA:
            return
        if plain.get("schema") == 1:
            raise UserError(
                f'"{self.path}" was written by sde_ray 0.1, whose settings have other names: none of its trials would '
                "be found again. Give the sweep another name and run it again, or read it with version 0.1. Nothing in "
                "the folder was changed."
            )
        raise UserError(
            f'"{self.path}", line {number}, has schema {plain.get("schema")}; this version reads schema {SCHEMA}. '
            "Use the version of sde_ray that wrote it, or give the sweep another name."
        )

    def _set_aside(self, torn: list[bytes], good: list[bytes]) -> None:
        aside = self.path.with_name(self.path.name + ".torn")
        with aside.open("ab") as file:
            file.write(b"".join(line + b"\n" for line in torn))
        self._replace(good)
        warnings.warn(
            f'"{self.path}" had {len(torn)} torn line(s), now in "{aside.name}". The trials of these lines run again.',
            stacklevel=4,
        )

    def _replace(self, lines: list[bytes]) -> None:
        write_atomic(self.path, b"".join(line + b"\n" for line in lines), durable=True)

    @property
    def _lock_path(self) -> Path:
        return self.path.with_name(self.path.name + LOCK)

    def _check_fence(self) -> None:
        if self._fence is None:
            return
        self._fence()
        if self._size is not None and self._size != self._size_now():
            raise UserError(
                f'Another driver has written to "{self.path}" since this one has read it, so this one stops. What the '
                "ledger has is kept: run the same command again to go on from there."
            )

    def _size_now(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0


def _counting(entries: Iterable[TrialResult]) -> dict[str, TrialResult]:
    """The entry that counts for each key."""
    best: dict[str, TrialResult] = {}
    for result in entries:
        if supersedes(result, best.get(result.key)):
            best[result.key] = result
    return best


def _refusal(path: Path, error: OSError) -> str:
    try:
        free = f"{shutil.disk_usage(path.parent).free / 2**20:.0f} MB are free there"
    except OSError:
        free = "its free space is unknown"
    return (
        f'Cannot write "{path}": {error.strerror or error}; {free}. Everything finished before is kept. '
        "Free some space or correct the permissions, then run the same command again: it goes on where it stopped."
    )


def save_result(path: Path, result: TrialResult) -> None:
    """Write one result as a file of its own, whole or not at all."""
    write_atomic(path, json.dumps(to_json(result), ensure_ascii=False).encode("utf-8", "replace"))


def load_result(path: Path) -> TrialResult | None:
    """The result in a file of `save_result`; None where there is none."""
    try:
        return from_json(read_json(path.read_bytes()))
    except (OSError, ValueError):
        return None
