"""The lease in a store: taken, renewed and given back by conditional writes, so that exactly one driver has it.

A driver reads the lease with its tag (ETag, generation), and replaces only what it has read: of several that find the
same dead driver's lease one succeeds, and a renewal fails where another driver has been. Where a store has no such
writes, or ignores their conditions, the lease is written, and read again `SETTLE` seconds later: of two that came
together, the later one has it. That is told when the lease is taken.
"""

from __future__ import annotations

import threading
import time
import warnings
from typing import Any

from sde_ray.errors import UserError
from sde_ray.storage import lease_record
from sde_ray.storage.lease_record import FILE, Holder, Term, is_living, parse, refusal, to_bytes
from sde_ray.storage.process import is_same
from sde_ray.storage.remote import REMEDY, RemoteFolder, reason

ATTEMPTS = 3  # at a lease that others take and give back meanwhile


class RemoteLease:
    """A driver's lease in a store. `is_lost`: another driver has it."""

    def __init__(self, remote: RemoteFolder, owner: dict[str, Any], seconds: float) -> None:
        self.remote, self.owner, self.seconds = remote, owner, seconds
        self.is_lost = False
        self._term = Term(seconds)
        self._tag: str | None = None  # that of our own lease; None: the store has no conditions
        self._renewing = threading.Lock()  # between the heartbeat and `verify`

    def acquire(self) -> None:
        """`UserError` where a living driver has it, or the store cannot be written."""
        self.remote.try_again()
        try:
            if not any(self._acquire() for _ in range(ATTEMPTS)):
                raise refusal(self.remote.uri, parse(self.remote.read(FILE)))
        except UserError:
            raise
        except Exception as error:
            raise UserError(f'"{self.remote.uri}" cannot be written ({reason(error)}). {REMEDY}') from error

    def renew(self) -> None:
        """Make it last; `is_lost` where another driver has it. Raises what the store raises when it is away."""
        with self._renewing:
            if self.is_lost:
                return
            if self._tag is None:
                self._renew_without_conditions()
            else:
                self._renew()

    def verify(self) -> None:
        """Renew it where that is overdue, as after a pause; a store that is away is asked at the next chance."""
        if self._term.is_overdue:
            try:
                self.renew()
            except Exception:
                pass

    def release(self) -> None:
        """Give back what is still ours; a store that is away lets it expire."""
        if self.is_lost:
            return
        try:
            if self._tag is not None:
                self.remote.remove_if(FILE, self._tag)
            elif self._is_own(parse(self.remote.read(FILE))):
                self.remote.remove([FILE])
        except Exception:
            pass

    # ---- by conditions -----------------------------------------------------------------------------------------------

    def _acquire(self) -> bool:
        """Whether it is ours; False: another one was quicker, and may be gone again."""
        try:
            tag = self.remote.tag(FILE)
        except NotImplementedError:
            self._acquire_without_conditions()
            return True
        self._refuse_if_held()  # read after the tag: a lease that is newer than its tag is not replaced
        term = Term(self.seconds)
        written = self.remote.write_if(FILE, to_bytes(self.owner, term.expires), tag)
        if written is None and self._is_own(parse(self.remote.read(FILE))):  # the answer was lost, the write was not
            written = self.remote.tag(FILE)
        if written is None:
            return False
        self._tag, self._term = written, term
        if self.remote.write_if(FILE, to_bytes(self.owner, term.expires), self.remote.conditions.no_tag) is not None:
            self._settle()
        return True

    def _renew(self) -> None:
        """Replace our own lease, and only that. Not done after all attempts: the next heartbeat tries again."""
        for _ in range(ATTEMPTS):
            term = Term(self.seconds)
            written = self.remote.write_if(FILE, to_bytes(self.owner, term.expires), self._tag or "")
            if written is not None:
                self._tag, self._term = written, term
                return
            tag = self.remote.tag(FILE)
            holder = parse(self.remote.read(FILE)) if tag else None
            if holder is not None and self._is_own(holder):
                self._tag = tag
                if holder.get("expires") == term.expires:  # the write was done, and its answer was lost
                    self._term = term
                    return
            elif tag or self._term.is_over:  # gone after its term: another driver may have been here, and have ended
                self.is_lost = True
                return
            else:
                self._tag = ""  # removed by hand: made anew

    def _is_own(self, holder: Holder | None) -> bool:
        return holder is not None and holder.get("token") == self.owner["token"]

    def _refuse_if_held(self) -> Holder | None:
        holder = parse(self.remote.read(FILE))
        if holder and is_living(holder) and not is_same(holder, self.owner):
            raise refusal(self.remote.uri, holder)
        return holder

    # ---- without -----------------------------------------------------------------------------------------------------

    def _acquire_without_conditions(self) -> None:
        if self._refuse_if_held():  # of a dead driver; or our own, from when the store was away
            self.remote.remove([FILE])
        self._term = Term(self.seconds)
        self.remote.write(FILE, to_bytes(self.owner, self._term.expires), exclusive=True)
        self._settle()

    def _settle(self) -> None:
        self._tag = None
        warnings.warn(
            f'"{self.remote.uri}" has no conditional writes. Of two drivers that start in the same moment the later '
            "one goes on; do not start two there on purpose.",
            stacklevel=2,
        )
        time.sleep(lease_record.SETTLE)
        holder = parse(self.remote.read(FILE))
        if not self._is_own(holder):
            raise refusal(self.remote.uri, holder)

    def _renew_without_conditions(self) -> None:
        holder = parse(self.remote.read(FILE))
        self.is_lost = not self._is_own(holder) if holder else self._term.is_over
        if not self.is_lost:
            self._term = Term(self.seconds)
            self.remote.write(FILE, to_bytes(self.owner, self._term.expires))
