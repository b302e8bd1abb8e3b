"""Conditional writes of every kind of store: of those who have read the same file one replaces it."""

from __future__ import annotations

import base64
import json
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from helpers.cloud_server import Azure, Gcs, serve
from helpers.in_process import on
from helpers.stores import quick  # noqa: F401

from sde_ray.errors import UserError
from sde_ray.storage import remote as remote_folder
from sde_ray.storage.conditional import CONDITIONS
from sde_ray.storage.lease import lease
from sde_ray.storage.mirror import MirroredFolder
from sde_ray.storage.process import this_process
from sde_ray.storage.remote import RemoteFolder

KINDS = ["file", "flaky", "memory", "gs", "abfs"]  # S3: test_s3.py


@pytest.fixture(params=KINDS)
def uri(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    kind = request.param
    if kind in ("file", "flaky"):
        yield f"{kind}://{tmp_path}/store/x"
    elif kind == "memory":
        yield f"memory://{uuid.uuid4().hex}/x"
    elif kind == "gs":
        monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")  # which asks Google what kind of bucket it is
        pytest.importorskip("gcsfs")
        with serve(Gcs) as url:
            monkeypatch.setitem(fsspec.config.conf, "gs", {"token": "anon", "endpoint_url": url})
            yield "gs://bucket/runs/x"
    else:
        pytest.importorskip("adlfs")
        with serve(Azure) as url:
            key = base64.b64encode(b"key").decode()
            account = f"DefaultEndpointsProtocol=http;AccountName=me;AccountKey={key};BlobEndpoint={url}/me"
            monkeypatch.setitem(fsspec.config.conf, "abfs", {"connection_string": account})
            yield "abfs://container/runs/x"


def test_a_file_is_replaced_and_removed_only_by_who_has_read_it(uri: str) -> None:
    remote = RemoteFolder(uri)
    assert remote.tag("lease.json") == ""
    first = remote.write_if("lease.json", b"a", "")
    assert first and first == remote.tag("lease.json")
    assert remote.write_if("lease.json", b"b", "") is None and remote.read("lease.json") == b"a"
    second = remote.write_if("lease.json", b"c", first)
    assert second and remote.write_if("lease.json", b"d", first) is None
    assert remote.write_if("lease.json", b"d", remote.conditions.no_tag) is None
    assert not remote.remove_if("lease.json", first) and remote.read("lease.json") == b"c"
    assert remote.remove_if("lease.json", second) and remote.read("lease.json") is None
    assert remote.write_if("lease.json", b"e", second) is None and remote.read("lease.json") is None
    assert not remote.remove_if("lease.json", second)


@pytest.mark.parametrize("stale", [False, True], ids=["new", "read"])
def test_of_several_that_write_at_once_one_does(stale: bool, uri: str) -> None:
    remote = RemoteFolder(uri)
    tag = remote.write_if("lease.json", b"old", "") if stale else ""
    assert tag is not None
    written: list[bytes] = []
    start = threading.Barrier(6)

    def write(content: bytes) -> None:
        start.wait()
        if remote.write_if("lease.json", content, tag) is not None:
            written.append(content)

    writers = [threading.Thread(target=write, args=(f"{number}".encode(),)) for number in range(6)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(written) == 1 and remote.read("lease.json") == written[0]


def test_a_lease_is_taken_renewed_refused_and_given_back(uri: str, tmp_path: Path) -> None:
    folder = MirroredFolder(uri)
    with lease(folder.folder, remote=folder.remote) as held:
        held.heartbeat_remote()
        held.check()
        with on(tmp_path / "elsewhere"):
            holder = json.loads(folder.remote.read("lease.json") or b"{}")
            folder.remote.write("lease.json", json.dumps({**holder, "token": "other", "machine": "b"}).encode())
            other = MirroredFolder(uri)
            with pytest.raises(UserError, match="is being run by process"), lease(other.folder, remote=other.remote):
                pass
        held.heartbeat_remote()
        with pytest.raises(UserError, match="Another driver has taken the sweep"):
            held.check()
    assert json.loads(folder.remote.read("lease.json") or b"{}")["token"] == "other"
    stale = {**this_process(), "machine": "b", "token": "other", "expires": time.time() - 1}
    folder.remote.write("lease.json", json.dumps(stale).encode())
    with lease(folder.folder, remote=folder.remote) as held:
        held.check()
    assert folder.remote.read("lease.json") is None


def test_a_store_without_conditions_lets_one_in_and_tells(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Such as sftp or HDFS: what was written is read again a moment later, and each renewal looks first."""
    monkeypatch.setattr(remote_folder, "conditions_of", lambda system, scheme: None)
    folder = MirroredFolder(f"memory://{uuid.uuid4().hex}/x")
    told = pytest.warns(UserWarning, match="has no conditional writes")
    with told, lease(folder.folder, remote=folder.remote) as held:
        held.heartbeat_remote()
        held.check()
        first = json.loads(folder.remote.read("lease.json") or b"{}")
        other = {**first, "machine": "b", "token": "other"}
        folder.remote.write("lease.json", json.dumps(other).encode())
        with on(tmp_path / "elsewhere"):
            second = MirroredFolder(folder.location)
            with pytest.raises(UserError, match="is being run by process"), lease(second.folder, remote=second.remote):
                pass
        held.heartbeat_remote()
        with pytest.raises(UserError, match="Another driver has taken the sweep"):
            held.check()
    assert json.loads(folder.remote.read("lease.json") or b"{}") == other
    folder.remote.write("lease.json", json.dumps({**other, "expires": 0}).encode())
    real = RemoteFolder.write

    def later(self: RemoteFolder, name: str, content: bytes, exclusive: bool = False) -> bool:
        """Another one writes at the same moment, after this one."""
        return real(self, name, content, exclusive) and real(self, name, json.dumps(other).encode())

    monkeypatch.setattr(RemoteFolder, "write", later)
    late = pytest.raises(UserError, match="is being run by process")
    with pytest.warns(UserWarning), late, lease(folder.folder, remote=folder.remote):
        pass


def test_the_table_names_every_scheme_of_the_three_clouds() -> None:
    assert set(CONDITIONS) == {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "memory"}
