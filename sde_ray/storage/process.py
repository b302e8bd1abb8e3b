"""Identity of a process across containers and machines, and whether the process still runs.

    owner = this_process()      {"host": "gpu-3", "machine": "8f0c...", "namespace": "pid:[4026531836]", "pid": 71, ...}
    is_running(owner)           True, False, or None: that cannot be known from here

A process id says something only to processes of the same PID namespace of the same kernel. `machine` is the kernel's
boot id and `namespace` its PID namespace: `/proc` is believed where both are our own. Equal host names prove nothing:
containers with host networking, clones of a virtual machine and laptops called "localhost" share theirs.

A system without `/proc` (macOS) has no such containers: there `machine` is the host's name, and an id that is in use
counts as running, whoever uses it.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

_UNNAMED = "one"  # the only namespace of a system that has none


def this_process() -> dict[str, Any]:
    """What tells this process from all others, as plain JSON values."""
    machine, namespace = _place()
    return {
        "host": socket.gethostname(),
        "machine": machine,
        "namespace": namespace,
        "pid": os.getpid(),
        "started": _started(os.getpid()) if namespace else None,  # without one, an id is not believed
    }


def is_here(owner: Mapping[str, Any]) -> bool:
    """Whether a process runs, or ran, on this machine since it was started: under the same kernel as this one."""
    return bool(owner.get("machine")) and owner.get("machine") == _place()[0]


def is_same(owner: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two descriptions are of one process."""
    return all(owner.get(part) == other.get(part) for part in ("machine", "namespace", "pid", "started"))


def is_running(owner: Mapping[str, Any]) -> bool | None:
    """Whether a process runs; None where its ids mean nothing here, or the system does not tell."""
    namespace = _place()[1]
    if not is_here(owner) or not namespace or owner.get("namespace") != namespace:
        return None
    try:
        pid = int(owner["pid"])
    except (KeyError, TypeError, ValueError):
        return None
    started = _started(pid)
    if started is None:  # no such process; or one of another user, on a system that hides those
        return None if is_alive(pid) else False
    return started == owner.get("started")


def is_alive(pid: int) -> bool:
    """Whether a process with this id exists in this PID namespace."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # it is someone else's
    return True


def _place() -> tuple[str, str]:
    """This process' machine and namespace; no namespace where Linux has no `/proc`, or that of another namespace."""
    return _place_of(os.getpid())


@lru_cache(maxsize=1)
def _place_of(pid: int) -> tuple[str, str]:
    if not sys.platform.startswith("linux"):
        return socket.gethostname(), _UNNAMED
    try:
        machine = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "", ""
    try:  # `unshare -p` without a /proc of its own leaves that of the outer namespace
        return machine, os.readlink("/proc/self/ns/pid") if os.readlink("/proc/self") == str(pid) else ""
    except OSError:
        return machine, ""


def _started(pid: int) -> str | None:
    """When a process began, in the kernel's ticks: tells a reused id from the first one. None: the system hides it."""
    if not sys.platform.startswith("linux"):
        return "running" if is_alive(pid) else None
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "ended" if fields[0] in "ZX" else fields[19]  # a zombie waits to be asked for its status
    except (OSError, IndexError):
        return None
