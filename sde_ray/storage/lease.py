"""The lease of a sweep's folder: one driver at a time.

    with lease(folder) as held:
        held.check()                    before each write that counts: UserError where another driver has taken over

`lease.json` names the driver and when its lease expires (`lease_record`). The driver renews it while it lives, from a
thread of its own, and only while it is still its own. Besides, it holds the file lock `lease.lock`, which the kernel
frees at its death: on a local disk that settles it, and the next driver, in whatever container of the machine, goes in
at once. On another machine the next one waits until the lease has expired, `LEASE_SECONDS` at most.

A driver that was paused for longer (SIGSTOP, a suspended laptop, a server of files that was away) finds the other
one's lease when it goes on, and stops: `check` looks before each line of the ledger. Clocks that differ let another
machine come too early or too late, never two of them write.

A sweep in a store has two: of the mirror, against other drivers of this machine, and in the store, against all others.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sde_ray.errors import UserError
from sde_ray.storage import lease_record
from sde_ray.storage.file_lock import HeldLock, is_locked_by_another
from sde_ray.storage.files import NEW, create_atomic, write_atomic
from sde_ray.storage.lease_record import (
    FILE,
    LEASE_SECONDS,
    Holder,
    Term,
    is_living,
    new_owner,
    parse,
    refusal,
    takeover,
    to_bytes,
)
from sde_ray.storage.process import is_alive, is_here, is_running, is_same, this_process
from sde_ray.storage.remote import REMEDY, RemoteFolder, reason
from sde_ray.storage.remote_lease import RemoteLease

__all__ = [
    "FILE",
    "LEASE_SECONDS",
    "Lease",
    "is_alive",
    "is_locked",
    "lease",
    "read_holder",
    "refuse_if_held",
    "token_of",
]

LOCK = "lease.lock"
HANDOVER_SECONDS = 2.0  # between the lock and `lease.json` of a driver that starts, or ends


@contextmanager
def lease(folder: Path, seconds: float = LEASE_SECONDS, remote: RemoteFolder | None = None) -> Iterator[Lease]:
    """Hold the folder, and in the store where it is a mirror; `UserError` where another living driver does."""
    held = Lease(folder, seconds, remote)
    held.acquire()
    try:
        held.acquire_remote()
        renewal = threading.Thread(target=held.renew_until_stopped, daemon=True)
        renewal.start()
        try:
            yield held
        finally:
            held.stop.set()
            renewal.join()
            held.release_remote()
    finally:
        held.release()


class Lease:
    """A lease that this process has. `lost`: another driver has taken it over."""

    def __init__(self, folder: Path, seconds: float, remote: RemoteFolder | None) -> None:
        self.folder, self.path, self.seconds = folder, folder / FILE, seconds
        self.owner = new_owner()
        self.remote = remote and RemoteLease(remote, self.owner, seconds)
        self.stop, self.lost = threading.Event(), False
        self._lock = HeldLock(folder / LOCK)
        self._term = Term(seconds)
        self._renewing = threading.Lock()  # between the heartbeat and `check`

    def check(self) -> None:
        """`UserError` where another driver has taken the folder or the store over; renews what is overdue."""
        with self._renewing:
            with suppress(OSError):  # where the folder cannot be read, the write that comes next says so
                self._renew(overdue_only=True)
            if self.lost:
                kept = "What the ledger has is kept; a trial that has just ended here may run again there."
                raise takeover(self.folder, kept)
        if self.remote:
            self.remote.verify()
        if self.remote and self.remote.is_lost:
            kept = "What this one has finished is kept and counts when it is run again here."
            raise takeover(self.remote.remote.uri, kept)

    # ---- the folder's ------------------------------------------------------------------------------------------------

    def acquire(self) -> None:
        """Raises UserError: where a living driver has the folder, or it cannot be written."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._acquire()
        except OSError as error:
            self._lock.release()
            raise UserError(
                f'Cannot write to "{self.folder}": {error.strerror}. What is there is kept. Free some space or correct '
                "the permissions, or set storage_path to another folder; then run the same command again."
            ) from None
        except BaseException:
            self._lock.release()
            raise

    def _acquire(self) -> None:
        locked = self._lock.acquire()
        holder = _read(self.path)
        if locked is False and not (holder and is_living(holder)):  # it starts or ends, or another one asks just now
            locked = self._lock.acquire(timeout=HANDOVER_SECONDS)
            holder = _read(self.path)
        if locked is False and (holder is None or is_here(holder)):  # the kernel's word: one of its processes has it
            raise refusal(self.folder, holder)
        freed = bool(locked and holder and holder.get("locked") and is_here(holder))  # by the death of its process
        if holder and not freed and is_living(holder):
            raise refusal(self.folder, holder)
        self.owner["locked"] = bool(locked)
        self._write(fresh=not self.path.exists())
        if locked:
            self._remove_torn()
        if not locked or (holder and not is_here(holder)):  # a lock may exclude those of one machine only
            time.sleep(lease_record.SETTLE)
            self._refuse_if_replaced()

    def _remove_torn(self) -> None:
        """What drivers have left that were killed while they wrote their lease."""
        for path in self.folder.glob(f"lease.*{NEW}"):
            path.unlink(missing_ok=True)

    def _refuse_if_replaced(self) -> None:
        """Of two drivers that came together the later one has the folder."""
        if token_of(self.folder) != self.owner["token"]:
            raise refusal(self.folder, _read(self.path))

    def _write(self, fresh: bool = False) -> None:
        """Write the lease, to last from now on. `fresh`: only where there is none; raises UserError else."""
        term = Term(self.seconds)
        content, new = to_bytes(self.owner, term.expires), f"lease.{self.owner['token']}{NEW}"
        if fresh:
            try:
                create_atomic(self.path, content, temporary=new)
            except FileExistsError:
                raise refusal(self.folder, _read(self.path)) from None
        else:
            write_atomic(self.path, content, temporary=new)
        self._term = term

    def renew(self) -> None:
        """Make it last, unless it is another one's by now. Raises OSError: where the folder cannot be written."""
        with self._renewing:
            self._renew()

    def _renew(self, overdue_only: bool = False) -> None:
        if self.lost:
            return
        try:
            holder = parse(self.path.read_bytes())
        except FileNotFoundError:
            holder = None
        # Gone after its term: another driver may have been here, and have ended.
        self.lost = holder.get("token") != self.owner["token"] if holder else self._term.is_over
        if self.lost or (overdue_only and holder and not self._term.is_overdue):
            return
        self._write()

    def release(self) -> None:
        """Give back what is still ours. A disk that can only be read by now keeps a lease that expires."""
        with suppress(OSError):
            if token_of(self.folder) == self.owner["token"]:
                self.path.unlink(missing_ok=True)
        self._lock.release()

    # ---- the store's -------------------------------------------------------------------------------------------------

    def acquire_remote(self) -> None:
        if self.remote:
            self.remote.acquire()

    def release_remote(self) -> None:
        if self.remote:
            self.remote.release()

    def heartbeat_remote(self) -> None:
        """Renew it. A store that is away: another driver may come when the lease has expired, and is then seen here."""
        if self.remote:
            with suppress(Exception):
                self.remote.renew()

    def renew_until_stopped(self) -> None:
        """The heartbeat. A full disk stops the sweep where results are written, with the whole story."""
        while not self.stop.wait(self.seconds / 3):
            with suppress(OSError):
                self.renew()
            self.heartbeat_remote()


def refuse_if_held(folder: Path, remote: RemoteFolder | None = None) -> None:
    """`UserError` where a living driver other than this process holds the folder; takes nothing itself."""
    holder, here = _read(folder / FILE), this_process()
    if holder and not is_same(holder, here) and _is_held(folder, holder):
        raise refusal(folder, holder)
    if remote is None:
        return
    try:
        other = parse(remote.read(FILE))
    except Exception as error:
        raise UserError(f'"{remote.uri}" cannot be read ({reason(error)}). {REMEDY}') from error
    if other and is_living(other) and not is_same(other, here):
        raise refusal(remote.uri, other)


def is_locked(folder: Path) -> bool:
    """Whether a living driver of this machine, this process too, holds the folder: then nothing newer is elsewhere."""
    holder = _read(folder / FILE)
    return holder is not None and _is_held(folder, holder)


def read_holder(folder: Path, remote: RemoteFolder | None = None) -> tuple[Holder | None, bool]:
    """Who has the lease of a folder, or had it last without giving it back; and whether that driver lives.

    Raises UserError: where the store cannot be read.
    """
    holder = _read(folder / FILE)
    if holder is not None and _is_held(folder, holder):
        return holder, True
    if remote is None:
        return holder, False
    try:
        other = parse(remote.read(FILE))
    except Exception as error:
        raise UserError(f'"{remote.uri}" cannot be read ({reason(error)}). {REMEDY}') from error
    return (other, is_living(other)) if other else (holder, False)


def token_of(folder: Path) -> str | None:
    """The token of the lease in a folder; None where there is none."""
    holder = _read(folder / FILE)
    return None if holder is None else str(holder.get("token"))


def _is_held(folder: Path, holder: Holder) -> bool:
    """Whether a holder lives: by its process, else by its lock, else by its term."""
    if is_running(holder) is None and holder.get("locked") and is_here(holder):
        locked = is_locked_by_another(folder / LOCK)
        if locked is not None:
            return locked
    return is_living(holder)


def _read(path: Path) -> Holder | None:
    try:
        return parse(path.read_bytes())
    except OSError:
        return None
