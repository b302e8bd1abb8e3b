"""Atomic file writes: a reader sees the old content or the new one, never a part.

    write_atomic(folder / "report.html", page)
write_atomic(folder / "checkpoint.json", content, durable=True)     on the disk when it returns
"""

from __future__ import annotations

import os
from pathlib import Path

NEW = ".new"  # ends the name of a file that is being written; such files are never uploaded


def write_atomic(path: Path, content: str | bytes, durable: bool = False, temporary: str = "") -> None:
    """Write a file, whole or not at all; `OSError` as the system raises it.

    Args:
        path: The file, in a folder that exists.
        content: Text is written as UTF-8.
        durable: Sync the file to the disk first. For what a later process relies on after a power cut (ledger,
            checkpoints); what can be made again from those need not wait for the disk.
        temporary: Name of the file that is written first. To be set where several processes may write at once.
    """
    new = path.with_name(temporary or path.name + NEW)
    with new.open("wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    os.replace(new, path)


def create_atomic(path: Path, content: bytes, temporary: str) -> None:
    """Write a file, whole, where there is none yet. Raises FileExistsError; else `OSError` as the system raises it."""
    new = path.with_name(temporary)
    try:
        with new.open("wb") as file:
            file.write(content)
        try:
            os.link(new, path)
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links
            with path.open("xb") as file:
                file.write(content)
    finally:
        new.unlink(missing_ok=True)
