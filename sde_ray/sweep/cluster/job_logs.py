"""The output of a job's driver: read, followed until the job ends, and without secrets.

logs(client, "sde-paper-1f0c9a2b-1")             all that it has printed
follow(client, "sde-paper-1f0c9a2b-1", print)    until the job ends; the job does not mind when this ends
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from sde_ray.errors import UserError
from sde_ray.safe_text import mask, printable, redact

MAX_RECONNECTS = 30  # reconnections in a row of a log that breaks off


def log_lines(client: Any, submission: str) -> list[str]:
    try:
        return str(client.get_job_logs(submission)).splitlines()
    except RuntimeError:
        return []  # a job that has not begun has no log


def logs(client: Any, submission: str) -> str:
    """All that the driver has printed so far, without secrets."""
    return printable(redact("\n".join(log_lines(client, submission))))


def follow(client: Any, submission: str, write: Callable[[str], None]) -> str:
    """Copy the driver's output until the job ends; reconnects when the connection breaks.

    Args:
        client: from `connect`.
        submission: the job's id.
        write: takes the output piece by piece, without secrets.

    Returns:
        The job's last status: SUCCEEDED, FAILED or STOPPED.

    Raises:
        UserError: when the connection cannot be restored, or the cluster knows the job no more.
    """
    tail, reconnects = _Tail(client, submission, write), 0
    while True:
        try:
            asyncio.run(tail.stream())
            state = client.get_job_status(submission)
            if state.is_terminal():
                tail.rest()
                return str(state.value)
            reconnects = 0
        except BrokenPipeError:
            raise  # the reader has enough
        except Exception as error:  # the network between here and the cluster, in whatever of its guises
            if _is_gone(client, submission):
                raise UserError(
                    f"The cluster at {mask(client.get_address())} knows the job {submission} no more: its head was "
                    "started anew, and the sweep does not run. What is finished is in the sweep's storage. Submit it "
                    "again, and it goes on from there: sde-ray submit SWEEP.yaml"
                ) from None
            reconnects += 1
            if reconnects > MAX_RECONNECTS:
                raise UserError(
                    f"The connection to {mask(client.get_address())} broke ({first_line(error)}). Whether "
                    "the sweep goes on there is not known here: sde-ray status SWEEP tells it when the cluster answers."
                ) from None
        time.sleep(min(2.0, 0.2 * (reconnects + 1)))


def _is_gone(client: Any, submission: str) -> bool:
    """Whether the cluster answers, and does not know the job."""
    try:
        client.get_job_status(submission)
    except RuntimeError as error:
        return "status code 404" in str(error) or "does not exist" in str(error)
    except Exception:  # the network: nothing is known
        return False
    return False


class _Tail:
    """A log and how much of it is written, so that the next connection begins where the last one broke."""

    def __init__(self, client: Any, submission: str, write: Callable[[str], None]) -> None:
        self.client, self.submission, self.write = client, submission, write
        self.written, self._partial = 0, ""

    async def stream(self) -> None:
        position = 0
        async for chunk in self.client.tail_job_logs(self.submission):
            self._write_rest(chunk, position)
            position += len(chunk)

    def rest(self) -> None:
        """What the driver printed between the last look and its end."""
        try:
            self._write_rest(str(self.client.get_job_logs(self.submission)), 0, last=True)
        except RuntimeError:
            pass  # it never printed anything

    def _write_rest(self, text: str, at: int, last: bool = False) -> None:
        self._partial += text[max(0, self.written - at) :]
        self.written = max(self.written, at + len(text))
        end = len(self._partial) if last else self._partial.rfind("\n") + 1  # a secret in two pieces is not recognised
        lines, self._partial = self._partial[:end], self._partial[end:]
        if lines:
            self.write(printable(redact(lines)))


def first_line(error: Exception) -> str:
    """An error's message in one line; of a traceback that a server has sent, the last one."""
    lines = [line.strip() for line in redact(str(error)).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    return lines[-1 if "Traceback" in lines[0] else 0][:300]
