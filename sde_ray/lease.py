"""The lease of a sweep's folder: one driver at a time.

`lease.json` names the driver's host and process and when the lease expires. The driver renews it while it lives, from a
thread of its own; after its death another driver takes over, at once on the same host, after `TERM` seconds elsewhere.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sde_ray.errors import UserError

TERM = 60.0  # seconds; renewed at a third of it


@contextmanager
def lease(folder: Path, term: float = TERM) -> Iterator[None]:
    """Hold the folder; `UserError` where another living driver does."""
    owner = _owner()
    path = folder / "lease.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _take(path, owner, term)
    except OSError as error:
        raise UserError(
            f'Cannot write to "{folder}": {error.strerror}. What is there is kept. Free some space or correct the '
            "permissions, or set storage to another folder; then run the same command again."
        ) from None
    stop = threading.Event()
    renewal = threading.Thread(target=_renew, args=(path, owner, term, stop), daemon=True)
    try:
        renewal.start()
        yield
    finally:
        stop.set()
        try:
            if renewal.ident is not None:
                renewal.join()
        finally:  # also where a signal comes just now
            _let_go(path)


def _let_go(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        pass  # a disk that can only be read by now; the process is gone soon, and its lease with it


def refuse_if_held(folder: Path) -> None:
    """`UserError` where a living driver other than this process holds the folder; takes nothing itself."""
    holder, here = _read(folder / "lease.json"), _owner()
    if holder and holder.get("pid") != here["pid"] and _lives(holder, here):
        raise UserError(_refusal(folder, holder))


def _owner() -> dict[str, Any]:
    return {"host": socket.gethostname(), "pid": os.getpid(), "started": _started(os.getpid())}


def _refusal(folder: Path, holder: dict[str, Any]) -> str:
    text = (
        f'The sweep in "{folder}" is being run by process {holder.get("pid")} on {holder.get("host")}. '
        "Wait for it, stop it, or give this sweep another name."
    )
    ahead = float(holder.get("expires", 0)) - time.time()
    if holder.get("host") != socket.gethostname():
        text += f" If that process is gone, its lease ends by itself in {max(0, ahead):.0f} s."
    if ahead > 10 * TERM:  # a lease is never that long: a clock was set back
        text += f' The clocks of the two machines differ by {ahead:.0f} s: if no sweep runs, remove "lease.json" there.'
    return text


def _take(path: Path, owner: dict[str, Any], term: float) -> None:
    with path.with_name("lease.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        holder = _read(path)
        if holder and _lives(holder, owner):
            raise UserError(_refusal(path.parent, holder))
        _write(path, owner, term)


def _lives(holder: dict[str, Any], owner: dict[str, Any]) -> bool:
    if holder.get("host") == owner["host"]:
        return holder.get("started") is not None and _started(int(holder.get("pid", 0))) == holder.get("started")
    return float(holder.get("expires", 0)) > time.time()


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


def _renew(path: Path, owner: dict[str, Any], term: float, stop: threading.Event) -> None:
    while not stop.wait(term / 3):
        try:
            _write(path, owner, term)
        except OSError:
            pass  # a full disk stops the sweep where results are written, with the whole story


def _read(path: Path) -> dict[str, Any] | None:
    try:
        holder = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return holder if isinstance(holder, dict) else None


def _write(path: Path, owner: dict[str, Any], term: float) -> None:
    new = path.with_name(f"lease.{os.getpid()}.new")
    new.write_text(json.dumps({**owner, "expires": time.time() + term}))
    os.replace(new, path)
