"""File locks between processes, by `filelock`: the kernel frees one when its process ends, however it ends.

    with exclusive(folder / "ledger.jsonl.lock"):
        ...

A file system without locks (some NFS mounts) refuses the first attempt; the work is then done without one: the lease
keeps other drivers out. Forked children and the processes that a holder starts do not inherit a lock.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

LOCK = ".lock"  # ends the name of a file that is locked for another one, and is no part of a run
_UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


class HeldLock:
    """A lock that may be held for long. `is_held`: whether this object has it."""

    def __init__(self, path: Path | str) -> None:
        self._lock = FileLock(path, thread_local=False, fallback_to_soft=False)
        self.is_held = False

    def acquire(self, timeout: float = 0.0) -> bool | None:
        """True: it is ours. False: another process, or another holder in this one, has it. None: no locks here."""
        try:
            self._lock.acquire(timeout=timeout)
        except Timeout:
            return False
        except OSError as error:
            if error.errno in _UNSUPPORTED:
                return None
            raise
        self.is_held = True
        return True

    def release(self) -> None:
        if self.is_held:
            self.is_held = False
            self._lock.release()


@contextmanager
def exclusive(path: Path | str) -> Iterator[None]:
    """Hold a lock, waiting for it without end; `OSError` where its file cannot be opened."""
    lock = HeldLock(path)
    lock.acquire(timeout=-1)
    try:
        yield
    finally:
        lock.release()


def is_locked_by_another(path: Path) -> bool | None:
    """Whether somebody holds the lock; None where that cannot be known: no locks, no right to open it, no file."""
    if not path.exists():
        return None
    lock = HeldLock(path)
    try:
        taken = lock.acquire()
    except OSError:
        return None
    lock.release()
    return None if taken is None else not taken
