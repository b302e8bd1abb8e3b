"""The lease of a sweep's folder: one driver at a time.

`lease.json` names the driver's host and process and when the lease expires. The driver renews it while it lives, from a
thread of its own; after its death another driver takes over, at once on the same host, after
`LEASE_SECONDS` elsewhere.

A sweep in a store has two: of the mirror, against other drivers of this machine, and in the store, against all others.
There it is made by a write that fails where the object exists already, if the store can do that; where it cannot, and
when a dead driver's is replaced, it is read again a moment later: of two that came together, the later one has it.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sde_ray.errors import UserError
from sde_ray.safe_json import read_json
from sde_ray.storage.files import NEW, write_atomic
from sde_ray.storage.remote import EXCLUSIVE, REMEDY, RemoteFolder, reason
from sde_ray.storage.uri import scheme

LEASE_SECONDS = 60.0  # seconds; renewed at a third of it


FILE = "lease.json"
SETTLE = 2.0  # seconds after which it is read again, where two drivers may have written it


@contextmanager
def lease(folder: Path, seconds: float = LEASE_SECONDS, remote: RemoteFolder | None = None) -> Iterator[Lease]:
    """Hold the folder, and in the store where it is a mirror; `UserError` where another living driver does."""
    owner = _owner()
    path = folder / FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _take(path, owner, seconds)
    except OSError as error:
        raise UserError(
            f'Cannot write to "{folder}": {error.strerror}. What is there is kept. Free some space or correct the '
            "permissions, or set storage_path to another folder; then run the same command again."
        ) from None
    held = Lease(path, owner, seconds, remote)
    try:
        held.acquire_remote()
        renewal = threading.Thread(target=held.heartbeat, daemon=True)
        renewal.start()
        try:
            yield held
        finally:
            held.stop.set()
            renewal.join()
            held.release_remote()
    finally:
        try:
            path.unlink(missing_ok=True)
        except OSError:
            pass  # a disk that can only be read by now; the process is gone soon, and its lease with it


class Lease:
    """A lease that this process has."""

    def __init__(self, path: Path, owner: dict[str, Any], seconds: float, remote: RemoteFolder | None) -> None:
        self.path, self.owner, self.seconds, self.remote = path, owner, seconds, remote
        self.stop, self.lost = threading.Event(), False

    def check(self) -> None:
        """`UserError` where another driver has taken the store's lease, as this one did not reach it for so long."""
        if self.lost and self.remote is not None:
            raise UserError(
                f'Another driver has taken the sweep in "{self.remote.uri}" over, as this one could not renew its '
                "lease there. What this one has finished is kept and counts when it is run again here."
            )

    def acquire_remote(self) -> None:
        if self.remote is None:
            return
        self.remote.try_again()
        try:
            self._take_remote(self.remote)
        except UserError:
            raise
        except Exception as error:
            raise UserError(f'"{self.remote.uri}" cannot be written ({reason(error)}). {REMEDY}') from error

    def _take_remote(self, remote: RemoteFolder) -> None:
        holder = _parsed(remote.read(FILE))
        if holder and _lives(holder, self.owner) and not _is_same(holder, self.owner):
            raise UserError(_refusal(remote.uri, holder))
        if holder:  # of a dead driver; or our own, which could not be given back when the store was away
            remote.remove([FILE])
        made = remote.write(FILE, self._content(), exclusive=True)
        if made and (holder or scheme(remote.uri) not in EXCLUSIVE):
            time.sleep(SETTLE)
        other = _parsed(remote.read(FILE)) or {}
        if other.get("token") != self.owner["token"]:
            raise UserError(_refusal(remote.uri, other))

    def release_remote(self) -> None:
        """Let go of what is still ours; a store that is away lets it expire."""
        if self.remote is None or self.lost:
            return
        try:
            if (_parsed(self.remote.read(FILE)) or {}).get("token") == self.owner["token"]:
                self.remote.remove([FILE])
        except Exception:
            pass

    def heartbeat(self) -> None:
        while not self.stop.wait(self.seconds / 3):
            try:
                _write(self.path, self.owner, self.seconds)
            except OSError:
                pass  # a full disk stops the sweep where results are written, with the whole story
            self.heartbeat_remote()

    def heartbeat_remote(self) -> None:
        if self.remote is None or self.lost:
            return
        try:
            holder = _parsed(self.remote.read(FILE))
            self.lost = holder is not None and holder.get("token") != self.owner["token"]
            if not self.lost:
                self.remote.write(FILE, self._content())
        except Exception:
            pass  # the store is away: another driver may come when the lease has run out, and is then seen here

    def _content(self) -> bytes:
        return json.dumps({**self.owner, "expires": time.time() + self.seconds}).encode()


def refuse_if_held(folder: Path, remote: RemoteFolder | None = None) -> None:
    """`UserError` where a living driver other than this process holds the folder; takes nothing itself."""
    holder, here = _read(folder / FILE), _owner()
    if holder and holder.get("pid") != here["pid"] and _lives(holder, here):
        raise UserError(_refusal(folder, holder))
    if remote is None:
        return
    try:
        other = _parsed(remote.read(FILE)) or here
    except Exception as error:
        raise UserError(f'"{remote.uri}" cannot be read ({reason(error)}). {REMEDY}') from error
    if _lives(other, here) and not _is_same(other, here):
        raise UserError(_refusal(remote.uri, other))


def is_locked(folder: Path) -> bool:
    """Whether a living driver of this machine, this process too, holds the folder: then nothing newer is elsewhere."""
    holder = _read(folder / FILE)
    return bool(holder) and _lives(holder or {}, _owner())


def _owner() -> dict[str, Any]:
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "started": _started(os.getpid()),
        "token": uuid.uuid4().hex,
    }


def _refusal(folder: Path | str, holder: dict[str, Any]) -> str:
    text = (
        f'The sweep in "{folder}" is being run by process {holder.get("pid")} on {holder.get("host")}. '
        "Wait for it, stop it, or give this sweep another name."
    )
    ahead = float(holder.get("expires", 0)) - time.time()
    if holder.get("host") != socket.gethostname():
        text += f" If that process is gone, its lease ends by itself in {max(0, ahead):.0f} s."
    if ahead > 10 * LEASE_SECONDS:  # a lease is never that long: a clock was set back
        text += f' The clocks of the two machines differ by {ahead:.0f} s: if no sweep runs, remove "lease.json" there.'
    return text


def _take(path: Path, owner: dict[str, Any], seconds: float) -> None:
    with path.with_name("lease.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        holder = _read(path)
        if holder and _lives(holder, owner):
            raise UserError(_refusal(path.parent, holder))
        _write(path, owner, seconds)


def _lives(holder: dict[str, Any], owner: dict[str, Any]) -> bool:
    if holder.get("host") == owner["host"]:
        return holder.get("started") is not None and _started(int(holder.get("pid", 0))) == holder.get("started")
    return float(holder.get("expires", 0)) > time.time()


def _is_same(holder: dict[str, Any], owner: dict[str, Any]) -> bool:
    return all(holder.get(part) == owner[part] for part in ("host", "pid", "started"))


def _started(pid: int) -> str | None:
    """When the process began, as the system tells it; tells a reused process id from the old one. None: it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        pass
    return "running" if is_alive(pid) else None  # a system without /proc


def is_alive(pid: int) -> bool:
    """Whether a process with this id exists on this host."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # it is someone else's
    return True


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return _parsed(path.read_bytes())
    except OSError:
        return None


def _parsed(content: bytes | None) -> dict[str, Any] | None:
    try:
        holder = read_json(content or b"")
    except ValueError:
        return None
    numbers = [holder.get(key, 0) for key in ("pid", "expires")] if isinstance(holder, dict) else [None]
    known = all(isinstance(number, int | float) and abs(number) < 2**53 for number in numbers)
    return holder if known else None  # a driver writes both, so this is no lease


def _write(path: Path, owner: dict[str, Any], seconds: float) -> None:
    content = json.dumps({**owner, "expires": time.time() + seconds})
    write_atomic(path, content, temporary=f"lease.{os.getpid()}{NEW}")  # two processes may try at once
