"""Memory that is free for decoding: of a GPU, or of the host within the limit of its control group."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import torch

MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")


def free_memory(device: torch.device) -> int:
    """Bytes that this process can still take on the device; 0 where nothing says how many.

    What torch's allocator holds and does not use counts as free.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free) + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    bounds = []
    with suppress(OSError, ValueError, StopIteration):
        fields = (line.split() for line in MEMINFO.read_text().splitlines())
        bounds.append(1024 * next(int(field[1]) for field in fields if field[0] == "MemAvailable:"))
    with suppress(OSError, ValueError):  # "max": there is no limit
        limit = int((CGROUP / "memory.max").read_text())
        stat = dict(line.split() for line in (CGROUP / "memory.stat").read_text().splitlines())
        cached = int(stat.get("inactive_file", 0))  # files that are read again if their memory is needed
        bounds.append(limit - int((CGROUP / "memory.current").read_text()) + cached)
    return max(0, min(bounds, default=0))
