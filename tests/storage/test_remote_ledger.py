"""The ledger in a store: one object a result, an index that follows, and bytes that grow with the results."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.flaky_store import Flaky
from helpers.in_process import on
from helpers.lease_driver import of_seed
from helpers.stores import quick  # noqa: F401

from sde_ray.storage.layout import LEDGER, LEDGER_OBJECTS
from sde_ray.storage.ledger import Ledger, to_json
from sde_ray.storage.mirror import MirroredFolder
from sde_ray.storage.remote import RemoteFolder
from sde_ray.types import Status


def uri(tmp_path: Path) -> str:
    return f"flaky://{tmp_path}/runs/x"


def truth(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "x"


def line(seed: int, status: Status = "finished", error: str = "") -> bytes:
    return json.dumps(to_json(of_seed(seed, status, error))).encode() + b"\n"


def read(location: str) -> list[str]:
    folder = MirroredFolder(location)
    folder.download()
    return [entry.key for entry in Ledger(folder.folder / LEDGER).entries()]


def append(location: str, *seeds: int) -> None:
    with MirroredFolder(location).open_ledger(lambda: None) as ledger:
        for seed in seeds:
            ledger.append(of_seed(seed))


def keys(*seeds: int) -> list[str]:
    return [of_seed(seed).key for seed in seeds]


@pytest.fixture
def moved(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, list[int]]]:
    """The bytes of every file that went up and came down."""
    counted: dict[str, list[int]] = {"up": [], "down": []}
    put, write_all, get = RemoteFolder.put, RemoteFolder.write_all, RemoteFolder.get

    def count_put(self: RemoteFolder, folder: Path, names: Any) -> None:
        names = list(names)
        counted["up"] += [(folder / name).stat().st_size for name in names]
        put(self, folder, names)

    def count_write(self: RemoteFolder, contents: Any) -> None:
        counted["up"] += [len(content) for content in contents.values()]
        write_all(self, contents)

    def count_get(self: RemoteFolder, folder: Path, names: Any) -> None:
        counted["down"] += [seen.size for seen in names.values()]
        get(self, folder, names)

    monkeypatch.setattr(RemoteFolder, "put", count_put)
    monkeypatch.setattr(RemoteFolder, "write_all", count_write)
    monkeypatch.setattr(RemoteFolder, "get", count_get)
    yield counted


def test_the_bytes_that_are_sent_grow_with_the_number_of_results(
    tmp_path: Path, moved: dict[str, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    sent = {}
    for number in (100, 200, 400):
        append(f"memory://{tmp_path.name}/{number}", *range(number))
        sent[number] = sum(moved["up"])
        moved["up"].clear()
    size = len(line(0))
    assert all(total <= 4 * number * size for number, total in sent.items()), (
        "each line, and at most 3 times in the index"
    )
    assert sent[400] < 5 * sent[100] < 5 * sent[200]


def test_a_reader_brings_the_index_and_only_what_is_newer(tmp_path: Path, moved: dict[str, list[int]]) -> None:
    append(uri(tmp_path), *range(50))
    moved["down"].clear()
    with on(tmp_path / "reader"):
        folder = MirroredFolder(uri(tmp_path))
        folder.download()
        assert len(moved["down"]) == 1, "the index alone"
        with on(tmp_path / "here"):
            store = MirroredFolder(uri(tmp_path))
            with store.open_ledger(lambda: None) as ledger:
                for seed in (50, 51):
                    ledger.append(of_seed(seed))
                moved["down"].clear()
                with on(tmp_path / "reader"):
                    assert read(uri(tmp_path)) == keys(*range(52))
                    assert len(moved["down"]) == 2, "two objects that the index does not have yet"
                    folder.download()
                    assert len(moved["down"]) == 2, "and each once"


def test_the_index_is_rebuilt_from_the_objects(tmp_path: Path) -> None:
    append(uri(tmp_path), 0, 1, 2)
    (truth(tmp_path) / LEDGER).unlink()
    with on(tmp_path / "elsewhere"):
        assert sorted(read(uri(tmp_path))) == sorted(keys(0, 1, 2))
        append(uri(tmp_path), 3)
    lines = (truth(tmp_path) / LEDGER).read_text().splitlines()
    assert len(lines) == 4 and {json.loads(one)["key"] for one in lines} == set(keys(0, 1, 2, 3))


def test_a_store_that_has_an_index_only_is_read_and_continued(tmp_path: Path) -> None:
    """One of a version without objects."""
    truth(tmp_path).mkdir(parents=True)
    (truth(tmp_path) / LEDGER).write_bytes(line(0) + line(1))
    assert read(uri(tmp_path)) == keys(0, 1)
    append(uri(tmp_path), 2)
    assert len(list((truth(tmp_path) / LEDGER_OBJECTS).iterdir())) == 1
    with on(tmp_path / "elsewhere"):
        assert read(uri(tmp_path)) == keys(0, 1, 2)


def test_what_could_not_be_sent_is_sent_by_the_next_run_unless_another_has_it_as_well(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch, pytest.warns(UserWarning, match="The sweep goes on"):
        patch.setattr(MirroredFolder, "_finish", lambda self, check: None)  # it is killed
        with MirroredFolder(uri(tmp_path)).open_ledger(lambda: None) as ledger:
            ledger.append(of_seed(0))
            Flaky.be(float("inf"))
            ledger.append(of_seed(1, "failed", "first"))
            ledger.append(of_seed(2))
            ledger.append(of_seed(3))
    Flaky.be()
    with on(tmp_path / "elsewhere"), MirroredFolder(uri(tmp_path)).open_ledger(lambda: None) as ledger:
        ledger.append(of_seed(1))
        ledger.append(of_seed(2))
        ledger.append(of_seed(3, "failed", "memory"))
    append(uri(tmp_path))
    with on(tmp_path / "reader"):
        assert sorted(read(uri(tmp_path))) == sorted(keys(0, 1, 2, 3, 3)), "of 3 the failed one and the finished one"
        results = Ledger(MirroredFolder(uri(tmp_path)).folder / LEDGER).results()
    assert {result.status for result in results.values()} == {"finished"}


def test_an_object_that_is_not_what_its_name_says_is_left_out(tmp_path: Path) -> None:
    append(uri(tmp_path), 0)
    objects = truth(tmp_path) / LEDGER_OBJECTS
    (objects / f"{of_seed(1).key}-{'0' * 16}.json").write_bytes(line(1))
    (objects / "notes.txt").write_text("mine")
    assert read(uri(tmp_path)) == keys(0)


def test_a_torn_line_of_a_mirror_is_not_sent(tmp_path: Path) -> None:
    append(uri(tmp_path), 0)
    store = MirroredFolder(uri(tmp_path))
    with store.open_ledger(lambda: None) as ledger:
        with (store.folder / LEDGER).open("ab") as file:
            file.write(line(1)[:30])
        with pytest.raises(ValueError, match="stop"):
            raise ValueError("stop")
        ledger.append(of_seed(2))
    with on(tmp_path / "reader"):
        assert len(list((truth(tmp_path) / LEDGER_OBJECTS).iterdir())) == 2


def test_a_write_that_arrives_after_another_driver_s_end_removes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A has looked at the store and is held up; B runs from its start to its end; then A's write arrives."""
    place, waiting = f"memory://{tmp_path.name}/x", [True]

    def late(name: str) -> None:
        real = getattr(RemoteFolder, name)

        def write(self: RemoteFolder, *arguments: Any) -> Any:
            if waiting and waiting.pop():
                with on(tmp_path / "b"):
                    append(place, 1, 2)
            return real(self, *arguments)

        monkeypatch.setattr(RemoteFolder, name, write)

    with on(tmp_path / "a"), MirroredFolder(place).open_ledger(lambda: None) as ledger:
        for name in ("put", "write_all"):
            late(name)
        ledger.append(of_seed(0))
    for machine in "abc":
        with on(tmp_path / machine):
            assert sorted(read(place)) == sorted(keys(0, 1, 2))


def test_a_result_that_is_appended_during_a_download_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    append(uri(tmp_path), 0, 1)
    (truth(tmp_path) / LEDGER).unlink()
    with on(tmp_path / "there"):
        folder = MirroredFolder(uri(tmp_path))
        folder.marks.set(LEDGER, at_work=True)
        real = RemoteFolder.get

        def get(self: RemoteFolder, place: Path, names: Any) -> None:
            if any(name.startswith(LEDGER_OBJECTS) for name in names):
                Ledger(folder.folder / LEDGER).append(of_seed(2))
            real(self, place, names)

        monkeypatch.setattr(RemoteFolder, "get", get)
        folder.download()
        assert sorted(Ledger(folder.folder / LEDGER).results()) == sorted(keys(0, 1, 2))
