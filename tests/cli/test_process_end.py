"""A command that has used Ray ends with its own code, whatever the C++ libraries do while they are taken down."""

from __future__ import annotations

import subprocess
import sys

import pytest

# At the exit of the C library, as the destructors of C++ are called, this process crashes.
CRASHES = """
import atexit, ctypes, sys, threading, time
from sde_ray.cli.process_end import RAY, end_process
libc = ctypes.CDLL(None)
libc.__cxa_atexit(libc.abort, None, None)
if sys.argv[1] == "with Ray":
    sys.modules[RAY] = sys
atexit.register(print, "exit functions")
threading.Thread(target=lambda: (time.sleep(0.05), print("threads"))).start()
print("said", end=" ")
end_process({"none": None, "text": "why"}.get(sys.argv[2]) if not sys.argv[2].isdigit() else int(sys.argv[2]))
"""


def ended(*arguments: str) -> tuple[int, str, str]:
    done = subprocess.run([sys.executable, "-c", CRASHES, *arguments], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("given", "code", "error"), [("0", 0, ""), ("none", 0, ""), ("130", 130, ""), ("text", 1, "why\n")]
)
def test_after_ray_python_ends_in_order_and_nothing_else_is_taken_down(given: str, code: int, error: str) -> None:
    assert ended("with Ray", given) == (code, "said threads\nexit functions\n", error)


def test_without_ray_a_process_ends_as_always() -> None:
    assert ended("without", "0")[0] == -6
