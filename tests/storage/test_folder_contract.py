"""One contract for every folder of a run: a plain one, and mirrors of stores of several kinds."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from helpers.in_process import on
from helpers.stores import KINDS, quick, storage  # noqa: F401

from sde_ray.storage.mirror import LocalFolder, MirroredFolder
from sde_ray.storage.uri import is_uri
from sde_ray.testing import FolderContract


class Folder(FolderContract):
    """In storage of one kind; another machine has another mirror."""

    kind = "path"

    def open(self, tmp_path: Path) -> LocalFolder:
        location = f"{storage(self.kind, tmp_path)}/x"
        return MirroredFolder(location) if is_uri(location) else LocalFolder(location)

    def elsewhere(self, tmp_path: Path) -> AbstractContextManager[object]:
        return nullcontext() if self.kind == "path" else on(tmp_path / "elsewhere")


class TestPlain(Folder):
    kind = "path"


class TestFileStore(Folder):
    kind = "file"


class TestMemoryStore(Folder):
    kind = "memory"


class TestFlakyStore(Folder):
    kind = "flaky"


def test_every_kind_of_storage_keeps_the_contract() -> None:
    assert {test.kind for test in Folder.__subclasses__()} == set(KINDS)
