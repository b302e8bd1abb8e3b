"""Conditional writes: a small file of a store is written or removed only while it is still the one that was read.

    conditions = conditions_of(remote.system, "s3")       None: this store has none
    tag = conditions.tag(system, path)                    "" where there is no such file
    conditions.write(system, path, content, tag)          the new file's tag; None: somebody was quicker

    scheme              tag                 condition
    s3, s3a             ETag                If-Match, If-None-Match: *
    gs, gcs             generation          ifGenerationMatch (0: no such object)
    az, abfs, abfss     ETag                If-Match; of a new blob If-None-Match: *
    file and the like   hash of the content a file lock beside the file
    memory              hash of the content a lock of this process, which alone sees it

Of several writers that have read the same tag exactly one succeeds. A network library that repeats a request whose
answer was lost may say None for a write that was done: the caller reads again and finds its own content.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from urllib.parse import quote

from sde_ray.storage.file_lock import LOCK, exclusive
from sde_ray.storage.files import NEW

_MISMATCH = {"PreconditionFailed", "ConditionalRequestConflict", "412", "409"}  # as S3 and the stores like it say it


@dataclass(frozen=True)
class Conditions:
    """How a kind of store tells two contents of a file apart, and writes and removes only the one that is meant.

    Args:
        tag: (system, path) -> the tag; "" where there is no file.
        write: (system, path, content, tag) -> the new tag, or None where the file has another one. `tag` "": the file
            must not exist yet. Raises NotImplementedError: the store has no conditions.
        remove: (system, path, tag) -> whether the file had that tag, and is gone.
        no_tag: What is no file's tag, in the form of one.
    """

    tag: Callable[[Any, str], str]
    write: Callable[[Any, str, bytes, str], str | None]
    remove: Callable[[Any, str, str], bool]
    no_tag: str


def conditions_of(system: Any, scheme: str) -> Conditions | None:
    """Those of a file system of fsspec; None for a store that has none, or whose library passes none on."""
    from fsspec.implementations.local import LocalFileSystem

    return FILES if isinstance(system, LocalFileSystem) else CONDITIONS.get(scheme)


# ---- object stores ---------------------------------------------------------------------------------------------------


def _info_tag(key: str) -> Callable[[Any, str], str]:
    def tag(system: Any, path: str) -> str:
        system.invalidate_cache()
        try:
            return str(system.info(path).get(key) or "")
        except FileNotFoundError:
            return ""

    return tag


def _s3_write(system: Any, path: str, content: bytes, tag: str) -> str | None:
    bucket, key, _ = system.split_path(path)
    condition = {"IfMatch": tag} if tag else {"IfNoneMatch": "*"}
    try:
        return str(system.call_s3("put_object", Bucket=bucket, Key=key, Body=content, **condition)["ETag"])
    except FileExistsError:
        return None
    except FileNotFoundError:
        if tag:
            return None
        raise  # no such bucket
    except OSError as error:
        if _s3_code(error) in _MISMATCH:
            return None
        if _s3_code(error) in ("NotImplemented", "501"):
            raise NotImplementedError(str(error)) from error
        raise


def _s3_remove(system: Any, path: str, tag: str) -> bool:
    bucket, key, _ = system.split_path(path)
    try:
        system.call_s3("delete_object", Bucket=bucket, Key=key, IfMatch=tag)
    except FileNotFoundError:
        return False
    except OSError as error:
        if _s3_code(error) in _MISMATCH:
            return False
        raise
    return True


def _s3_code(error: OSError) -> str:
    response = getattr(error.__cause__, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


def _gcs_write(system: Any, path: str, content: bytes, tag: str) -> str | None:
    bucket, key, _ = system.split_path(path)
    address = f"{system._location}/upload/storage/v1/b/{quote(bucket)}/o"
    given = {"uploadType": "media", "name": key, "ifGenerationMatch": tag or "0"}
    try:
        written = system.call("POST", address, data=content, json_out=True, **given)
    except (FileExistsError, FileNotFoundError) as error:  # its word for any condition that fails is the first
        if isinstance(error, FileNotFoundError) and not tag:
            raise
        return None
    return str(written["generation"])


def _gcs_remove(system: Any, path: str, tag: str) -> bool:
    bucket, key, _ = system.split_path(path)
    try:
        system.call("DELETE", "b/{}/o/{}", bucket, key, ifGenerationMatch=tag)
    except (FileExistsError, FileNotFoundError):
        return False
    return True


def _azure_write(system: Any, path: str, content: bytes, tag: str) -> str | None:
    from azure.core import MatchConditions
    from azure.core.exceptions import ResourceModifiedError, ResourceNotFoundError

    condition = {"etag": tag, "match_condition": MatchConditions.IfNotModified} if tag else {}
    try:
        return str(system.pipe_file(path, content, overwrite=bool(tag), **condition)["etag"])
    except (FileExistsError, ResourceModifiedError):
        return None
    except ResourceNotFoundError:
        if tag:
            return None
        raise


def _azure_remove(system: Any, path: str, tag: str) -> bool:
    from azure.core import MatchConditions
    from azure.core.exceptions import ResourceModifiedError, ResourceNotFoundError
    from fsspec.asyn import sync

    container, blob, _ = system.split_path(path)

    async def delete() -> None:
        async with system.service_client.get_blob_client(container=container, blob=blob) as client:
            await client.delete_blob(etag=tag, match_condition=MatchConditions.IfNotModified)

    try:
        sync(system.loop, delete)
    except (ResourceModifiedError, ResourceNotFoundError):
        return False
    return True


# ---- folders, and the memory of a process ----------------------------------------------------------------------------


def _content_tag(system: Any, path: str) -> str:
    try:
        return sha256(system.cat_file(path)).hexdigest()
    except FileNotFoundError:
        return ""


def _file_write(system: Any, path: str, content: bytes, tag: str) -> str | None:
    system.makedirs(path.rpartition("/")[0], exist_ok=True)
    with exclusive(path + LOCK):
        if _content_tag(system, path) != tag:
            return None
        new = f"{path}.{os.getpid()}{NEW}"
        system.pipe_file(new, content)
        os.replace(new, path)
    return sha256(content).hexdigest()


def _file_remove(system: Any, path: str, tag: str) -> bool:
    with exclusive(path + LOCK):
        if _content_tag(system, path) != tag:
            return False
        system.rm_file(path)
    return True


_memory = threading.Lock()


def _memory_write(system: Any, path: str, content: bytes, tag: str) -> str | None:
    with _memory:
        if _content_tag(system, path) != tag:
            return None
        system.pipe_file(path, content)
    return sha256(content).hexdigest()


def _memory_remove(system: Any, path: str, tag: str) -> bool:
    with _memory:
        if not tag or _content_tag(system, path) != tag:
            return False
        system.rm_file(path)
    return True


FILES = Conditions(_content_tag, _file_write, _file_remove, "-")
_S3 = Conditions(_info_tag("ETag"), _s3_write, _s3_remove, f'"{0:032x}"')
_GCS = Conditions(_info_tag("generation"), _gcs_write, _gcs_remove, "1")
_AZURE = Conditions(_info_tag("etag"), _azure_write, _azure_remove, '"0x0"')
CONDITIONS = {
    "s3": _S3,
    "s3a": _S3,
    "gs": _GCS,
    "gcs": _GCS,
    "az": _AZURE,
    "abfs": _AZURE,
    "abfss": _AZURE,
    "memory": Conditions(_content_tag, _memory_write, _memory_remove, "-"),
}
