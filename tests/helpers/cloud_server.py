"""Google Cloud Storage and Azure Blob Storage of a test's own: as much of their HTTP as a lease needs, conditions too.

    with serve(Gcs) as url: ...         with serve(Azure) as url: ...

The clients are the real ones (gcsfs, adlfs); what they send is answered as the services document it. Each write is one
step, and gives the object a new generation or ETag.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

WHEN = "Fri, 27 Nov 2026 10:00:00 GMT"


class Store(BaseHTTPRequestHandler):
    """The objects by bucket and name: their content and how often one was written so far."""

    objects: ClassVar[dict[str, tuple[bytes, int]]] = {}
    written: ClassVar[int] = 1000
    lock: ClassVar[threading.Lock] = threading.Lock()

    def log_message(self, format: str, *arguments: object) -> None: ...

    @property
    def query(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            content = b""
            while size := int(self.rfile.readline(), 16):
                content += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return content
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def write(self, name: str, content: bytes) -> int:
        Store.written += 1
        self.objects[name] = content, Store.written
        return Store.written

    def answer(self, status: int, content: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for header, value in {"Content_Length": str(len(content)), **headers}.items():
            self.send_header(header.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


class Gcs(Store):
    def describe(self, name: str) -> dict[str, str]:
        bucket, _, key = name.partition("/")
        content, generation = self.objects[name]
        told = {"kind": "storage#object", "bucket": bucket, "name": key, "size": str(len(content))}
        return told | {"generation": str(generation), "etag": f"e{generation}", "updated": "2026-11-27T10:00:00.000Z"}

    def as_json(self, status: int, value: object) -> None:
        self.answer(status, json.dumps(value).encode(), Content_Type="application/json")

    def refuse(self, status: int, reason: str) -> None:
        self.as_json(status, {"error": {"code": status, "message": reason, "errors": [{"reason": reason}]}})

    def is_met(self, name: str) -> bool:
        wanted = self.query.get("ifGenerationMatch")
        return wanted is None or str(self.objects.get(name, (b"", 0))[1]) == wanted

    def do_POST(self) -> None:
        match, content = re.match(r"/upload/storage/v1/b/([^/]+)/o", self.path), self.body()
        assert match, self.path
        key = self.query.get("name", "")
        if self.query["uploadType"] == "multipart":  # its description and its content, each behind an empty line
            _, described, rest = content.split(b"\n\n", 2)
            key = json.loads(described.partition(b"\n--")[0])["name"]
            content = rest.rpartition(b"\n--")[0]
        with self.lock:
            name = f"{match[1]}/{key}"
            if not self.is_met(name):
                return self.refuse(412, "conditionNotMet")
            self.write(name, content)
            return self.as_json(200, self.describe(name))

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        match = re.fullmatch(r"(?:/download)?/storage/v1/b/([^/]+)/o(?:/(.+))?", path)
        if not match:
            return self.refuse(404, "notFound")
        if match[2] is None:
            within = f"{match[1]}/{self.query.get('prefix', '')}"
            items = [self.describe(name) for name in self.objects if name.startswith(within)]
            return self.as_json(200, {"kind": "storage#objects", "items": items})
        name = f"{match[1]}/{unquote(match[2])}"
        if name not in self.objects:
            return self.refuse(404, "notFound")
        if self.query.get("alt") == "media":
            return self.answer(200, self.objects[name][0])
        return self.as_json(200, self.describe(name))

    def do_DELETE(self) -> None:
        match = re.fullmatch(r"/storage/v1/b/([^/]+)/o/(.+)", urlsplit(self.path).path)
        assert match, self.path
        name = f"{match[1]}/{unquote(match[2])}"
        with self.lock:
            if name not in self.objects:
                return self.refuse(404, "notFound")
            if not self.is_met(name):
                return self.refuse(412, "conditionNotMet")
            del self.objects[name]
            return self.answer(204)


class Azure(Store):
    @property
    def name(self) -> str:
        return unquote(urlsplit(self.path).path).lstrip("/").partition("/")[2]  # behind the account

    def refuse(self, status: int, code: str) -> None:
        self.answer(status, f"<Error><Code>{code}</Code></Error>".encode(), x_ms_error_code=code)

    def tags(self) -> dict[str, str]:
        content, version = self.objects[self.name]
        size = str(len(content))
        return {"ETag": f'"0x{version}"', "Last_Modified": WHEN, "x_ms_blob_type": "BlockBlob", "Content_Length": size}

    def is_met(self) -> bool:
        wanted, there = self.headers.get("If-Match"), self.name in self.objects
        return not wanted or (there and self.tags()["ETag"] == wanted)

    def do_PUT(self) -> None:
        content = self.body()
        with self.lock:
            if self.headers.get("If-None-Match") == "*" and self.name in self.objects:
                return self.refuse(409, "BlobAlreadyExists")
            if not self.is_met():
                return self.refuse(412, "ConditionNotMet")
            self.write(self.name, content)
            return self.answer(201, **{**self.tags(), "Content_Length": "0"})

    def do_HEAD(self) -> None:
        if self.name not in self.objects:
            return self.refuse(404, "BlobNotFound")
        return self.answer(200, **self.tags())

    def do_GET(self) -> None:
        if self.name not in self.objects:
            return self.refuse(404, "BlobNotFound")
        content = self.objects[self.name][0]
        return self.answer(206, content, **self.tags(), Content_Range=f"bytes 0-{len(content) - 1}/{len(content)}")

    def do_DELETE(self) -> None:
        with self.lock:
            if self.name not in self.objects:
                return self.refuse(404, "BlobNotFound")
            if not self.is_met():
                return self.refuse(412, "ConditionNotMet")
            del self.objects[self.name]
            return self.answer(202)


@contextmanager
def serve(kind: type[Store]) -> Iterator[str]:
    """The address of an empty store."""
    Store.objects.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
