"""What a lease says: which process has it, until when, and under which token; read as what others may have written.

{"host": "gpu-3", "machine": "8f0c...", "namespace": "pid:[4026531836]", "pid": 71, "started": "5210",
 "token": "0a4d...", "locked": true, "expires": 1764000060.0}
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sde_ray.errors import UserError
from sde_ray.safe_json import read_json
from sde_ray.storage.process import is_here, is_running, this_process

LEASE_SECONDS = 60.0  # seconds; renewed at a third of it
FILE = "lease.json"
SETTLE = 2.0  # seconds after which it is read again, where two drivers may have written it

Holder = Mapping[str, Any]


def new_owner() -> dict[str, Any]:
    """This process, with a token that no other lease has."""
    return {**this_process(), "token": uuid.uuid4().hex}


def to_bytes(owner: Holder, expires: float) -> bytes:
    return json.dumps({**owner, "expires": expires}).encode()


def parse(content: bytes | None) -> Holder | None:
    """The inverse of `to_bytes`; None for what no driver has written."""
    try:
        holder = read_json(content or b"")
    except ValueError:
        return None
    numbers = [holder.get(key, 0) for key in ("pid", "expires")] if isinstance(holder, dict) else [None]
    known = all(isinstance(number, int | float) and abs(number) < 2**53 for number in numbers)
    return holder if known else None


def is_living(holder: Holder) -> bool:
    """Whether the holder runs; where that cannot be known from here, whether its lease has not expired."""
    running = is_running(holder)
    return _is_unexpired(holder) if running is None else running


def _is_unexpired(holder: Holder) -> bool:
    return float(holder.get("expires", 0)) > time.time()


def refusal(place: Path | str, holder: Holder | None) -> UserError:
    """The sweep is another driver's: whose, and what to do."""
    if holder is None:
        return UserError(f'Another process is starting or ending the sweep in "{place}". Try again in a moment.')
    text = (
        f'The sweep in "{place}" is being run by process {holder.get("pid")} on {holder.get("host")}. '
        "Wait for it, stop it, or give this sweep another name."
    )
    ahead = float(holder.get("expires", 0)) - time.time()
    if is_running(holder) is None and ahead > 0 and not (holder.get("locked") and is_here(holder)):
        text += f" If that process is gone, its lease ends by itself in {ahead:.0f} s."
    if ahead < 0 and is_here(holder):
        text += f" It has not renewed its lease for {-ahead:.0f} s: it is paused or hangs. Continue it, or kill it."
    if ahead > 10 * LEASE_SECONDS:  # a lease is never that long: a clock was set back
        text += f' The clocks of the two machines differ by {ahead:.0f} s: if no sweep runs, remove "lease.json" there.'
    return UserError(text)


def takeover(place: Path | str, kept: str) -> UserError:
    """Another driver has the sweep now, and this one stops. `kept`: what becomes of what it has finished."""
    return UserError(
        f'Another driver has taken the sweep in "{place}" over, as this one could not renew its lease there. {kept}'
    )


class Term:
    """The time for which a lease was written last. A suspended machine counts, and so does a clock that was set on."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.expires = seconds, time.time() + seconds
        self._began = _clock()

    @property
    def is_over(self) -> bool:
        return _clock() - self._began > self.seconds or time.time() > self.expires

    @property
    def is_overdue(self) -> bool:
        """Whether it should have been renewed by now: it may soon be over, or is."""
        return self.is_over or _clock() - self._began > self.seconds / 2


def _clock() -> float:
    """Seconds since the machine was started, those of a suspension too where the system counts them."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()
