"""A store for tests that can be taken away: `flaky:///folder`, a local folder behind a network that fails on demand."""

from __future__ import annotations

from typing import Any, ClassVar

import fsspec
from fsspec.implementations.local import LocalFileSystem

CALLS = ("find", "info", "put_file", "get_file", "cat_file", "pipe_file", "mv", "rm_file", "makedirs")


class Flaky(LocalFileSystem):
    """Raises what a network raises. `fails`: how many calls still fail; `only`: the calls that can."""

    protocol = ("flaky",)
    cachable = False
    fails: ClassVar[float] = 0
    only: ClassVar[tuple[str, ...]] = CALLS
    failed: ClassVar[int] = 0

    @classmethod
    def be(cls, fails: float = 0, only: tuple[str, ...] = CALLS) -> None:
        cls.fails, cls.only, cls.failed = fails, only, 0


def _gated(name: str) -> Any:
    inner = getattr(LocalFileSystem, name)

    def call(self: Flaky, *arguments: Any, **options: Any) -> Any:
        if name in Flaky.only and Flaky.fails > 0:
            Flaky.fails -= 1
            Flaky.failed += 1
            raise ConnectionError("the network is gone at http://user:hush@proxy")
        return inner(self, *arguments, **options)

    return call


for _name in CALLS:
    setattr(Flaky, _name, _gated(_name))
fsspec.register_implementation("flaky", Flaky, clobber=True)
