"""Files that are written whole or not at all, and hashes of what is in them."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from sde_ray.safe_json import content_hash, stream_hash
from sde_ray.storage.files import write_atomic


def test_a_file_is_written_whole_or_stays_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "page.html"
    write_atomic(path, "größer\n")
    assert path.read_bytes() == "größer\n".encode()
    write_atomic(path, b"\xff")
    assert path.read_bytes() == b"\xff" and [one.name for one in tmp_path.iterdir()] == ["page.html"]

    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        write_atomic(path, "half")
    assert path.read_bytes() == b"\xff"


def test_only_durable_files_wait_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    write_atomic(tmp_path / "a", "1")
    assert not synced
    write_atomic(tmp_path / "b", "2", durable=True)
    assert len(synced) == 1


def test_equal_values_have_equal_hashes_and_the_digests_are_those_of_sha256() -> None:
    assert content_hash({"a": [1]}) == "2147dbdb56c4868b"
    assert content_hash({"a": 1, "b": "é"}) == content_hash({"b": "é", "a": 1}) != content_hash({"a": 2, "b": "é"})
    whole = hashlib.sha256("größer\n1".encode()).hexdigest()[:16]
    assert stream_hash(["größer\n", b"1"]) == stream_hash(["größer", "\n1"]) == whole
