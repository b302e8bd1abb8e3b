"""One folder of a store, by fsspec: list, get, put, remove, each tried again when the network fails.

    remote = Remote("s3://bucket/runs/hotels")
    remote.list()                      {"ledger.jsonl": Seen(5120, 1764000000.0), "trials/5f0c/result.json": ...}
    remote.put(mirror, ["ledger.jsonl"]); remote.get(mirror, ["sweep.yaml"])

A file is the same here and there when its size and its time of change are, and its ETag where there is one: both ways
set the local one's time so (`FileInfo`). Whatever a reader finds is whole: object stores put so by themselves, in other
stores a file is moved into its place.
fsspec is imported when the first store is opened, so a sweep in a plain folder never loads it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cached_property, lru_cache
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from sde_ray.errors import UserError
from sde_ray.safe_text import redact
from sde_ray.storage.conditional import Conditions, conditions_of
from sde_ray.storage.file_lock import LOCK
from sde_ray.storage.files import NEW
from sde_ray.storage.uri import is_uri, local_path, scheme, split

BACKOFF_SECONDS: tuple[float, ...] = (0.5, 2.0)  # seconds before the second and the third attempt
PAUSE = 20.0  # seconds between two attempts at a store that is away
WHOLE = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oss", "oci", "tos", "memory"}  # a put is seen whole, or not
TIMES = ("LastModified", "last_modified", "mtime", "updated", "modify", "time", "created")
T = TypeVar("T")


@dataclass(frozen=True)
class FileInfo:
    """A file as a listing tells it. `changed`: seconds since 1970; None where the store does not say. `etag`: the same.

    A local file is the same when its size is, and its time of change: the store's second, and of an ETag so many
    microseconds as its hash has, since two versions of one second may have one size.
    """

    size: int
    changed: float | None
    etag: str = ""

    @property
    def time_ns(self) -> int | None:
        """The time that marks a local file as the same, in nanoseconds since 1970."""
        if not self.etag:
            return None if self.changed is None else round(self.changed * 1e9)
        fraction = int.from_bytes(sha256(self.etag.encode()).digest()[:8], "big") % 1_000_000
        return int(self.changed or 0.0) * 1_000_000_000 + fraction * 1_000

    def matches_local(self, path: Path) -> bool:
        try:
            own = path.stat()
        except OSError:
            return False
        tolerance = 500 if self.etag else 1_000_000
        return own.st_size == self.size and self.time_ns is not None and abs(own.st_mtime_ns - self.time_ns) < tolerance


class RemoteFolder:
    """The folder at an address. `UserError` where no driver for it is installed; what the store raises else."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._away: tuple[Exception, float] | None = None  # the last call's fault, and until when none is made

    def try_again(self) -> None:
        """Forget that the store was away: the next call is made at once, and tried again."""
        self._away = None

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        from fsspec.core import url_to_fs

        try:
            system, root = url_to_fs(self.uri)
        except ImportError as error:
            package = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "abfs": "adlfs", "az": "adlfs"}
            needed = package.get(scheme(self.uri), "")
            remedy = f"pip install {needed}" if needed else f"{error}"
            raise UserError(f'"{self.uri}" needs a package that is not installed here: {remedy}') from None
        return system, str(root).rstrip("/")

    @property
    def system(self) -> Any:
        return self._opened[0]

    def path(self, name: str) -> str:
        return f"{self._opened[1]}/{name}" if name else self._opened[1]

    # ---- whole files -------------------------------------------------------------------------------------------------

    def list(self, within: str = "") -> dict[str, FileInfo]:
        """Every file by its path below this folder; `within` is a file or a folder of it. Nothing: an empty mapping."""

        def find() -> Mapping[str, Any]:
            self.system.invalidate_cache()
            try:
                found: Mapping[str, Any] = self.system.find(self.path(within), detail=True)
                return {name: info or self.system.info(name) for name, info in found.items()}
            except FileNotFoundError:
                return {}

        start = len(self.path("")) + 1
        found = {name[start:]: info for name, info in self._tried(find).items() if info.get("type") != "directory"}
        return {name: _seen(info) for name, info in found.items() if is_inside(name) and not name.endswith((NEW, LOCK))}

    def seen(self, name: str) -> FileInfo | None:
        """One file; None where there is none."""

        def ask() -> FileInfo | None:
            self.system.invalidate_cache()
            try:
                return _seen(self.system.info(self.path(name)))
            except FileNotFoundError:
                return None

        return self._tried(ask)

    def get(self, folder: Path, names: Mapping[str, FileInfo]) -> None:
        """Bring files into `folder`, each whole or not at all, with the store's time of change.

        One that another process has removed since it was listed is left out.
        """
        if not names:
            return
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
        arriving = {name: folder / f"{name}.{os.getpid()}{NEW}" for name in names}
        try:
            self._get(arriving)
        except FileNotFoundError:
            for name, new in arriving.items():
                with suppress(FileNotFoundError):
                    self._get({name: new})
        for name, new in arriving.items():
            if new.exists():
                set_time(new, names[name])
                os.replace(new, folder / name)

    def _get(self, files: Mapping[str, Path]) -> None:
        paths = [self.path(name) for name in files], list(map(str, files.values()))
        try:
            self._tried(lambda: self.system.get(*paths))
        except FileNotFoundError:
            for new in files.values():
                new.unlink(missing_ok=True)  # some were there, or begun
            raise

    def put(self, folder: Path, names: Iterable[str]) -> None:
        """Bring files of `folder` to the store, in this order where it matters: what stands last arrives last."""
        names = list(names)
        if not names:
            return None
        if scheme(self.uri) in WHOLE:
            ways = [str(folder / name) for name in names], [self.path(name) for name in names]
            return self._tried(lambda: self.system.put(*ways))
        for name in names:
            self._tried(lambda name=name: self._put_beside(folder / name, self.path(name)))  # type: ignore[misc]
        return None

    def _put_beside(self, local: Path, remote: str) -> None:
        new = f"{remote}.{os.getpid()}{NEW}"
        self.system.makedirs(remote.rpartition("/")[0], exist_ok=True)
        self.system.put_file(str(local), new)
        self.system.mv(new, remote)

    def remove(self, names: Iterable[str]) -> None:
        """Take files away; one that is gone already is no fault."""
        for name in names:
            try:
                self._tried(lambda name=name: self.system.rm_file(self.path(name)))  # type: ignore[misc]
            except FileNotFoundError:
                pass

    # ---- small texts -------------------------------------------------------------------------------------------------

    def read(self, name: str) -> bytes | None:
        """The content of a file; None where there is none."""

        def read() -> bytes | None:
            self.system.invalidate_cache()
            try:
                return bytes(self.system.cat_file(self.path(name)))
            except FileNotFoundError:
                return None

        return self._tried(read)

    def write_all(self, contents: Mapping[str, bytes]) -> None:
        """Write small files, each whole, several at once where the store's library can do that."""
        if scheme(self.uri) in WHOLE:
            return self._tried(lambda: self.system.pipe({self.path(name): one for name, one in contents.items()}))
        for name, content in contents.items():
            self._tried(lambda name=name, content=content: self._pipe_beside(content, self.path(name)))  # type: ignore[misc]
        return None

    def _pipe_beside(self, content: bytes, remote: str) -> None:
        new = f"{remote}.{os.getpid()}{NEW}"
        self.system.makedirs(remote.rpartition("/")[0], exist_ok=True)
        self.system.pipe_file(new, content)
        self.system.mv(new, remote)

    def write(self, name: str, content: bytes, exclusive: bool = False) -> bool:
        """Write a small file; False where it should be made but is there already, as far as the store can tell."""
        path = self.path(name)

        def write() -> bool:
            if scheme(self.uri) not in WHOLE:
                self.system.makedirs(path.rpartition("/")[0], exist_ok=True)
            try:
                self.system.pipe_file(path, content, mode="create" if exclusive else "overwrite")
            except FileExistsError:
                return False
            return True

        return self._tried(write)

    # ---- conditions --------------------------------------------------------------------------------------------------

    @property
    def conditions(self) -> Conditions:
        """Raises NotImplementedError: the store has none, so what is read may be another's when it is replaced."""
        conditions = conditions_of(self.system, scheme(self.uri))
        if conditions is None:
            raise NotImplementedError(f'"{self.uri}" has no conditional writes')
        return conditions

    def tag(self, name: str) -> str:
        """What tells this content of a file from any other; "" where there is none. Raises NotImplementedError."""
        tag = self.conditions.tag
        return self._tried(lambda: tag(self.system, self.path(name)))

    def write_if(self, name: str, content: bytes, tag: str) -> str | None:
        """Write a small file that still has a tag, or ("") does not exist yet: its new tag, or None where it has not.

        Raises NotImplementedError: the store has no conditions.
        """
        write = self.conditions.write
        return self._tried(lambda: write(self.system, self.path(name), content, tag))

    def remove_if(self, name: str, tag: str) -> bool:
        """Remove a file that still has a tag; False where it has not. Raises NotImplementedError."""
        remove = self.conditions.remove
        return self._tried(lambda: remove(self.system, self.path(name), tag))

    # ---- trying again ------------------------------------------------------------------------------------------------

    def _tried(self, action: Callable[[], T]) -> T:
        """What the action gives. Its last exception where it fails each time; a refusal is not tried again.

        While a store is away, one call in `PAUSE` seconds is made, once: a library may take long to give up.
        """
        if self._away and time.monotonic() < self._away[1]:
            raise self._away[0]
        for wait in () if self._away else BACKOFF_SECONDS:
            try:
                return action()
            # The last: a store that lacks what was asked, such as exclusive creation, lacks it the next time, too.
            except (UserError, FileNotFoundError, PermissionError, NotImplementedError):
                raise
            except Exception:  # each library of a store has its own for the network
                time.sleep(wait)
        try:
            done = action()
        except Exception as error:
            if not isinstance(error, UserError | FileNotFoundError):
                self._away = error, time.monotonic() + PAUSE
            raise
        self._away = None
        return done


def _seen(info: Mapping[str, Any]) -> FileInfo:
    changed: Any = next((info[key] for key in TIMES if info.get(key) is not None), None)
    if isinstance(changed, str):
        try:
            changed = datetime.fromisoformat(changed.replace("Z", "+00:00"))
        except ValueError:
            changed = None
    if isinstance(changed, datetime):
        changed = (changed if changed.tzinfo else changed.replace(tzinfo=timezone.utc)).timestamp()
    etag = str(info.get("ETag") or info.get("etag") or "").strip('"')
    return FileInfo(int(info.get("size") or 0), float(changed) if isinstance(changed, int | float) else None, etag)


def set_time(path: Path, seen: FileInfo) -> None:
    """Mark a local file as the same as the store's."""
    if seen.time_ns is not None:
        os.utime(path, ns=(seen.time_ns, seen.time_ns))


def is_inside(name: str) -> bool:
    """Whether a store's name for a file stays in the folder that it is brought into."""
    parts = PurePosixPath(name).parts
    return bool(parts) and name == "/".join(parts) and ".." not in parts and not set("\\\0") & set(name)


def reason(fault: BaseException) -> str:
    """A store's exception in one line, without secrets."""
    said = " ".join(str(fault).split())[:300]
    return said if isinstance(fault, UserError) else redact(f"{type(fault).__name__}: {said}")


@lru_cache(maxsize=64)
def fetch_file(location: str) -> Path:
    """One file, brought here if it is at an address; once in a process. `UserError` where it cannot be read."""
    if not is_uri(location):
        return Path(location)
    try:
        folder, name = split(location)
    except ValueError as error:
        raise UserError(str(error)) from None
    path = local_path(folder) / name
    try:
        remote = RemoteFolder(folder)
        seen = remote.list(name)
        remote.get(path.parent, seen)
    except UserError:
        raise
    except Exception as error:
        if not path.is_file():
            raise UserError(f'"{location}" cannot be read ({reason(error)}). {REMEDY}') from error
    if not path.is_file():
        raise UserError(f'There is no file "{location}".')
    return path


REMEDY = "Check the address, this machine's network, and the variables that the store's library asks for."
