"""Cache of per-item counts: completions that were read and counted once are not read again by the next command.

    cache = ItemCache(run folder, ("masa:d1", "tiny", 500, "dev"))
    cache.get(result, path, open_task)             the counts that were kept, or None
    cache.put(result, path, open_task, parts)      kept when the next `flush` ends

runs/<sweep>/.items/5f0c....jsonl      one line a trial; of this machine, never uploaded

An entry counts for one predictions file (size and time), one content of the task and its examples, and one version of
the code that reads and counts. It holds numbers only, in the one shape that fits; whatever else a file holds, however
it came there, is as if it were not there. Where the folder cannot be written, nothing is kept.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import sde_ray
from sde_ray.errors import UserError
from sde_ray.metrics import num_counts
from sde_ray.plugins import code_of
from sde_ray.safe_json import content_hash, stream_hash
from sde_ray.storage.jsonl_cache import JsonlCache
from sde_ray.storage.layout import ITEMS
from sde_ray.types import Example, Task, TrialResult

Counts = npt.NDArray[Any]
Parts = dict[str, tuple[list[int], Counts]]  # by task: numbers of the items among its examples, and rows of counts
FLUSH_EVERY = 500  # trials: what an interrupted command loses at most
ROOMS = ("data", "design", "metrics", "tasks", "evaluation")  # whose code decides the counts


@dataclass(frozen=True)
class OpenTask:
    """A task with the examples of the split that is counted, and the content hash of both."""

    task: Task
    examples: Sequence[Example]
    fingerprint: str


class ItemCache:
    """Counts of one study's trials on one split.

    Args:
        folder: the run's directory on this machine.
        name: what the trials have in common, and the split.
    """

    def __init__(self, folder: Path, name: Sequence[object]) -> None:
        self._file = JsonlCache(folder / ITEMS / f"{content_hash(list(map(str, name)))}.jsonl")
        self._new: dict[str, dict[str, Any]] = {}
        self._writable = True
        try:
            self._values = self._file.read()
        except UserError:
            self._values = {}

    def get(self, result: TrialResult, path: Path, open_task: Callable[[str], OpenTask]) -> Parts | None:
        """Counts of a trial by task; empty: it has no completions on the split. None: not in the cache.

        Args:
            result: the trial.
            path: its completions.
            open_task: opens one of the trial's tasks by its name.
        """
        value = self._values.pop(result.key, None)  # asked for once, and thousands are held
        own = {str(result.config["task"]), *map(str, result.config.get("out_of_domain", ()))}
        try:
            if value is None or value["state"] != _state(path) or not own.issuperset(value["parts"]):
                return None
            return {name: _unpack(part, open_task(name)) for name, part in value["parts"].items()}
        except (OSError, ValueError, TypeError, LookupError, AttributeError, OverflowError, zlib.error):
            return None

    def put(self, result: TrialResult, path: Path, open_task: Callable[[str], OpenTask], parts: Parts) -> None:
        """Keep the counts of a trial, unless code from outside the package reads or counts them."""
        tasks = {name: open_task(name) for name in parts}
        if not self._writable or _is_foreign(result, [opened.task for opened in tasks.values()]):
            return
        with suppress(OSError):
            packed = {name: _pack(*part, tasks[name]) for name, part in parts.items()}
            self._new[result.key] = {"state": _state(path), "parts": packed}
        if len(self._new) >= FLUSH_EVERY:
            self.flush()

    def flush(self) -> None:
        """Write what is new; where that cannot be done, the next command counts again."""
        try:
            self._file.append_all(self._new)
        except UserError:
            self._writable = False
        self._new = {}


def _state(path: Path) -> list[Any]:
    """What tells whether an entry is of these completions and this code."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, _code_version()]


@lru_cache(maxsize=1)
def _code_version() -> str:
    """Hash of the modules that read completions and count them."""
    package = Path(sde_ray.__file__).parent
    files = sorted(path for room in ROOMS for path in (package / room).rglob("*.py"))
    return stream_hash([np.__version__, *(path.read_bytes() for path in files)])


def _is_foreign(result: TrialResult, tasks: Sequence[Task]) -> bool:
    """Whether code from outside the package reads or counts: it may change without notice."""
    names = [str(name) for pair in result.config["design"].items() for name in pair]
    return bool(code_of(" ".join([*names, *(metric for task in tasks for metric in task.metrics)])))


def _pack(numbers: list[int], rows: Counts, opened: OpenTask) -> dict[str, Any]:
    """The counts as JSON values: small whole numbers in a byte each, compressed, as most are 0."""
    asked = np.zeros(len(opened.examples), dtype=bool)
    asked[numbers] = True
    return {
        "task": opened.fingerprint,
        "items": base64.b64encode(np.packbits(asked).tobytes()).decode(),
        "type": rows.dtype.str,
        "rows": base64.b64encode(zlib.compress(np.ascontiguousarray(rows).tobytes(), 1)).decode(),
    }


def _unpack(part: Mapping[str, Any], opened: OpenTask) -> tuple[list[int], Counts]:
    """The inverse of `_pack`. Raises ValueError, or what the libraries raise, for anything else."""
    if part["task"] != opened.fingerprint:
        raise ValueError("of another content of the task")
    bits = np.frombuffer(_bytes(part["items"]), dtype=np.uint8)
    count = len(opened.examples)
    if len(bits) != -(-count // 8):
        raise ValueError("of another number of examples")
    numbers = np.flatnonzero(np.unpackbits(bits)[:count]).tolist()
    dtype = np.dtype({"|u1": np.uint8, "<f8": np.float64}[part["type"]])
    shape = len(numbers), num_counts(opened.task)
    size = shape[0] * shape[1] * dtype.itemsize
    content = zlib.decompressobj().decompress(_bytes(part["rows"]), size + 1)  # never more, whatever was compressed
    if not numbers or len(content) != size:
        raise ValueError("of another shape")
    rows = np.frombuffer(content, dtype=dtype).reshape(shape)
    if not np.isfinite(rows).all():
        raise ValueError("no counts")
    return numbers, rows


def _bytes(text: Any) -> bytes:
    try:
        return base64.b64decode(str(text), validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None
