"""Files that are written whole or not at all, and hashes of what is in them."""

from __future__ import annotations

import ast
import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

import sde_ray
from sde_ray.safe_json import content_hash, stream_hash
from sde_ray.storage.files import create_atomic, write_atomic


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


WRITTEN_OTHERWISE = {
    "bench/": "measurements of the maintainers",
    "testing/": "contract suites, in folders of tests",
    "sweep/cluster/package.py": "a temporary folder that nobody else reads",
    "sweep/cluster/preflight.py": "a marker that is read back and compared",
    "training/worker.py": "a file of /proc",
}


def test_every_file_of_a_run_is_written_whole_or_not_at_all() -> None:
    """Nothing but `write_atomic` makes a file in a run's folder; the ledger and the caches only grow by whole lines."""
    package, writers = Path(sde_ray.__file__).parent, set[str]()
    for file in package.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr in ("write_text", "write_bytes"):
                writers.add(file.relative_to(package).as_posix())
    assert writers, "the search itself"
    assert [name for name in sorted(writers) if not name.startswith(tuple(WRITTEN_OTHERWISE))] == []


def test_a_file_that_exists_is_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create_atomic(tmp_path / "a", b"first", "a.new")
    with pytest.raises(FileExistsError):
        create_atomic(tmp_path / "a", b"second", "a.new")

    def no_links(*args: Any) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", no_links)
    create_atomic(tmp_path / "b", b"first", "b.new")
    with pytest.raises(FileExistsError):
        create_atomic(tmp_path / "b", b"second", "b.new")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"first", "b": b"first"}


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
