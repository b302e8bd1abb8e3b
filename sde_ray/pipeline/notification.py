"""Notification of a sweep's end: what the hooks of `notify` are told, once everything else is written.

    with notified(config):        on leaving it: finished, interrupted or failed
        ...

{"text": "hotels: finished in 14 min. 40 of 40 trials, 2 failed. hotels on tiny: Use the assembled design: ...",
 "sweep": "hotels", "folder": "runs/hotels", "status": "finished", "exit_code": 0, "message": "", "seconds": 843.1,
 "trials": {"planned": 40, "finished": 38, ...}, "validation": {...}, "best": [...], "verdicts": [...], "report": "..."}

A hook that fails is one warning: the sweep's own end, and its exit code, stay what they are. A driver that is killed
tells nothing; `sde-ray status` does.
"""

from __future__ import annotations

import errno
import json
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from sde_ray.config.schema import SweepConfig
from sde_ray.errors import UserError
from sde_ray.pipeline.context import Interrupted
from sde_ray.pipeline.hooks import HookError, open_hooks
from sde_ray.pipeline.status import RunStatus, run_status
from sde_ray.safe_text import printable, redact
from sde_ray.sweep.progress import duration

INTERRUPTED_S = 10.0  # for a hook where a scheduler waits for the driver's end, and kills it soon
FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # ends the command like an error of the user


@dataclass(frozen=True)
class Ending:
    """How a run ended. `message`: why it did not finish, without secrets."""

    status: Literal["finished", "interrupted", "failed"]
    exit_code: int
    message: str = ""


@contextmanager
def notified(config: SweepConfig) -> Iterator[None]:
    """Tell the hooks of a sweep how what is inside has ended. Raises UserError: for hooks that can never work."""
    hooks, started = open_hooks(config.notify), time.monotonic()
    ending = Ending("finished", 0)
    try:
        yield
    except BaseException as error:
        ending = ending_of(error)
        raise
    finally:
        seconds = config.notify.timeout_s
        if ending.status == "interrupted":
            seconds = min(seconds, INTERRUPTED_S)
        if hooks:
            body = json.dumps(notification(config, ending, time.monotonic() - started), ensure_ascii=False).encode()
        for hook in hooks:
            try:
                hook(body, seconds)
            except HookError as refused:
                warnings.warn(f"The sweep has ended, and this hook was not told: {refused}.", stacklevel=3)


def ending_of(error: BaseException) -> Ending:
    """How a run ends that an exception leaves: as the command line does."""
    words = redact(str(error) if isinstance(error, (UserError, Interrupted)) else f"{type(error).__name__}: {error}")
    if isinstance(error, Interrupted):
        return Ending("interrupted", 130, words)
    if isinstance(error, (KeyboardInterrupt, SystemExit)):
        return Ending("interrupted", 130, "Stopped. What is finished is saved; the same command goes on from there.")
    expected = isinstance(error, UserError) or (isinstance(error, OSError) and error.errno in FULL_DISK)
    return Ending("failed", 2 if expected else 1, words)


def notification(config: SweepConfig, ending: Ending, seconds: float) -> dict[str, Any]:
    """What the hooks are told, as plain JSON values; without what the run's folder does not tell."""
    told: dict[str, Any] = {"sweep": config.name, "folder": config.run_dir.uri(), **vars(ending)}
    told["seconds"] = round(seconds, 1)
    try:
        status: RunStatus | None = run_status(config)
    except Exception:  # no run yet, or a folder that cannot be read: that it ended is told all the same
        status = None
    parts = ("trials", "validation", "best", "verdicts", "report")
    whole = status.to_dict() if status else {"best": [], "verdicts": []}
    told |= {part: whole.get(part) for part in parts}
    return {"text": _text(told), **told}


def _text(told: dict[str, Any]) -> str:
    """All of it for a person, in a few sentences."""
    sentences = [f"{told['sweep']}: {told['status']} after {duration(told['seconds'])}."]
    if told["message"]:
        sentences.append(told["message"].rstrip(".") + ".")
    if trials := told["trials"]:
        planned = "" if trials["planned"] is None else f" of {trials['planned']:g}"
        more = "".join(f", {trials[what]} {what}" for what in ("pruned", "failed") if trials[what])
        sentences.append(f"{trials['finished']}{planned} trials finished{more}.")
    for best in () if told["verdicts"] else told["best"]:
        sentences.append(f"Best so far on {best['task']}: {best['score']:.3f}, {best['design']}.")
    for one in told["verdicts"]:  # what to do comes first: a chat shows the beginning
        sentences.append(f"{one['task']} on {one['model']}: {one['action'] or one['summary']}")
        sentences += [one["summary"]] if one["action"] else []
    return printable(redact(" ".join(sentences)))
