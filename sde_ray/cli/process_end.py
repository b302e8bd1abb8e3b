"""The end of a process that has used Ray: its code is what it has said, not a crash on the way out.

Some of Ray's own threads outlive `ray.shutdown()`. While the interpreter and the C++ libraries take down what these
threads use, one may still look at it: a command that is done and has saved everything would end with a segmentation
fault, now and then. So what is Python's ends in order, and nothing else is taken down.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from contextlib import suppress

RAY = "ray._raylet"  # its native library; a process without it has no such threads


def end_process(code: int | str | None) -> None:
    """End with this code (as of `SystemExit`), as an ordinary exit does where Ray was not used."""
    if RAY not in sys.modules:
        raise SystemExit(code)
    if isinstance(code, str):
        print(code, file=sys.stderr)
        code = 1
    threading._shutdown()  # type: ignore[attr-defined] # waits for threads that are no daemons
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # nobody reads it any more, or it is closed
            stream.flush()
    os._exit(code or 0)
