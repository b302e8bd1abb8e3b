"""Reading a store in which another process is at work: a file that goes in the middle costs that file only."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.stores import quick  # noqa: F401

from sde_ray.storage.remote import RemoteFolder


@pytest.mark.parametrize("kind", ["file", "memory"])
def test_a_file_that_goes_after_it_was_listed_is_left_out(kind: str, tmp_path: Path) -> None:
    remote = RemoteFolder(f"{kind}://{tmp_path}/store")
    for name in ("config.json", "partial.json", "result.json"):
        remote.write(name, name.encode())
    listed = remote.list()
    remote.remove(["partial.json"])
    remote.get(tmp_path / "here", listed)
    assert {path.name for path in (tmp_path / "here").iterdir()} == {"config.json", "result.json"}
