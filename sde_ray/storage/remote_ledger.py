"""The ledger of a sweep in a store: one object a result, and an index of them that is cheap to read.

    ledger/5f0c...-9b1e....json     one line of the ledger, named by its trial and its content: never replaced
    ledger.jsonl                    the index: the lines of the objects at the time, in one file

The objects are the truth. None is ever replaced, so two drivers that write at once, or one that comes late, lose
nothing of each other's. The index is written when the ledger has doubled and when a driver ends, so the bytes that are
sent grow with the number of results; a reader brings the index, and of the objects those that it lacks. Lines of an
index without objects, from a version that had none, count as well.

Of a trial with several lines the one that `supersedes` the others counts, as in any ledger. A line that could not be
sent before another driver has ended the same trial as well or better is left out.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path

from sde_ray.safe_json import read_json
from sde_ray.storage.file_lock import LOCK, exclusive
from sde_ray.storage.files import write_atomic
from sde_ray.storage.layout import LEDGER, LEDGER_OBJECTS
from sde_ray.storage.ledger import RANK
from sde_ray.storage.remote import FileInfo, RemoteFolder, set_time

COPY = ".ledger"  # the folder of a mirror with the store's index as it was brought or sent last
_OBJECT = re.compile(rf"{LEDGER_OBJECTS}/[\w.-]+-([0-9a-f]{{16}})\.json")


class RemoteLedger:
    """The ledger of a mirror, brought from its store and sent there.

    Args:
        remote: The store's folder of the run.
        folder: Its mirror.
    """

    def __init__(self, remote: RemoteFolder, folder: Path) -> None:
        self.remote, self.folder = remote, folder
        self.path, self._copy = folder / LEDGER, folder / COPY / LEDGER
        self._sent: set[str] = set()  # digests of the lines that the store has
        self._indexed = 0  # so many of them are in its index
        self._read_to = (0, 0)  # inode and length of what `_new_lines` has read

    def download(self, listed: Mapping[str, FileInfo], unsent: bool) -> None:
        """Make the mirror's ledger what the store has. `unsent`: what only this machine has stays, behind the others.

        Args:
            listed: The store's files.
            unsent: The mirror has lines that were not sent yet.
        """
        index = self._index(listed.get(LEDGER))
        objects = {match[1]: name for name in listed if (match := _OBJECT.fullmatch(name))}
        own = {_digest(line): line for line in _lines(self.path)}
        lacking = [name for digest, name in objects.items() if digest not in index and digest not in own]
        later = {digest: line for digest, line in own.items() if digest in objects}
        brought = self._get({name: listed[name] for name in sorted(lacking, key=lambda name: _age(listed[name], name))})
        lines = {**index, **later, **brought}
        self._sent, self._indexed = set(lines), len(index)
        if unsent:
            lines |= _not_superseded({digest: line for digest, line in own.items() if digest not in lines}, lines)
        self._replace(lines, own)

    def upload(self) -> None:
        """Send each line that the store lacks; the index, too, where it has doubled. Raises what the store raises."""
        new = {_digest(line): line for line in self._new_lines()}
        names = {digest: _object_name(line, digest) for digest, line in new.items() if digest not in self._sent}
        if names:
            self.remote.write_all({name: new[digest] for digest, name in names.items()})
        self._sent |= set(names)
        self._read_to = self._length()
        if len(self._sent) >= 2 * self._indexed:
            self.upload_index()

    def upload_index(self) -> None:
        """Make the store's index the mirror's ledger, unless it is so already."""
        if self._indexed == len(self._sent) or not self.path.is_file():
            return
        self.remote.put(self.folder, [LEDGER])
        self._indexed = len(self._sent)
        seen = self.remote.seen(LEDGER)
        if seen and seen.size == self.path.stat().st_size:
            self._copy.parent.mkdir(exist_ok=True)
            shutil.copyfile(self.path, self._copy)
            set_time(self._copy, seen)

    # ---- parts -------------------------------------------------------------------------------------------------------

    def _index(self, seen: FileInfo | None) -> dict[str, bytes]:
        """The lines of the store's index; it is brought only where it has changed."""
        if seen is None:
            self._copy.unlink(missing_ok=True)
        elif not seen.matches_local(self._copy):
            self.remote.get(self._copy.parent, {LEDGER: seen})
        return {_digest(line): line for line in _lines(self._copy)}

    def _get(self, names: Mapping[str, FileInfo]) -> dict[str, bytes]:
        """The lines of objects. One that is not what its name says was made by hand, and is left out."""
        if not names:
            return {}
        with tempfile.TemporaryDirectory() as folder:
            self.remote.get(Path(folder), names)
            read = [Path(folder, name).read_bytes().strip() for name in names]
        lines = {_digest(line): line for line in read}
        return {digest: line for digest, line in lines.items() if _object_name(line, digest) in names}

    def _replace(self, lines: Mapping[str, bytes], own: Mapping[str, bytes]) -> None:
        """Write the mirror's ledger; what a driver has appended since `own` was read stays behind the others."""
        if list(lines) == list(own):
            return
        if not lines:
            self.path.unlink(missing_ok=True)
            return
        with exclusive(self.path.with_name(self.path.name + LOCK)):
            appended = [line for line in _lines(self.path) if _digest(line) not in own and _digest(line) not in lines]
            write_atomic(self.path, b"".join(line + b"\n" for line in (*lines.values(), *appended)), durable=True)

    def _new_lines(self) -> Iterator[bytes]:
        """Lines of the mirror's ledger that were appended since the last upload; all, where the file is another one."""
        if not self.path.is_file():
            return
        inode, start = self._read_to
        with self.path.open("rb") as file:
            now = os.fstat(file.fileno())
            file.seek(start if now.st_ino == inode and now.st_size >= start else 0)
            for line in file.read().split(b"\n"):
                if line.strip() and _parse(line):
                    yield line.strip()

    def _length(self) -> tuple[int, int]:
        if not self.path.is_file():
            return 0, 0
        now = self.path.stat()
        return now.st_ino, now.st_size


def _lines(path: Path) -> list[bytes]:
    return [line.strip() for line in path.read_bytes().split(b"\n") if line.strip()] if path.is_file() else []


def _digest(line: bytes) -> str:
    return sha256(line).hexdigest()[:16]


def _parse(line: bytes) -> tuple[str, int] | None:
    """A line's trial and the rank of its status; None for a torn one."""
    try:
        plain = read_json(line)
        key, rank = plain["key"], RANK[plain["status"]]
    except (ValueError, TypeError, LookupError):
        return None
    return (key, rank) if isinstance(key, str) and re.fullmatch(r"\w[\w.-]*", key) else None


def _object_name(line: bytes, digest: str) -> str:
    parsed = _parse(line)
    return f"{LEDGER_OBJECTS}/{parsed[0]}-{digest}.json" if parsed else ""


def _age(seen: FileInfo, name: str) -> tuple[float, str]:
    return seen.changed or 0.0, name


def _not_superseded(own: Mapping[str, bytes], there: Mapping[str, bytes]) -> dict[str, bytes]:
    """Lines of trials that the store does not have as well or better."""
    best: dict[str, int] = {}
    for key, rank in _parsed(there.values()):
        best[key] = max(rank, best.get(key, rank))
    kept = {digest: _parse(line) for digest, line in own.items()}
    return {
        digest: own[digest] for digest, parsed in kept.items() if parsed is None or parsed[1] > best.get(parsed[0], -1)
    }


def _parsed(lines: Iterable[bytes]) -> Iterator[tuple[str, int]]:
    return (parsed for line in lines if (parsed := _parse(line)))
