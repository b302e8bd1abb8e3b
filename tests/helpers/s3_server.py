"""An S3 of this machine's own: moto's server as a process, so that drivers and nodes share nothing but its address.

    server = S3Server(folder)
    server.start()
    bucket = server.make_bucket()                  "s3://bucket-1"
    env = {**os.environ, **server.env}             what a process needs to reach it, and no other S3

What it holds is in its memory, and gone when it ends.
"""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from helpers.nodes import STARTS, free_port, kill


@dataclass
class S3Server:
    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    _buckets: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def env(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def start(self) -> None:
        """Start it; skips where it is not installed (the extras `dev` and `s3`)."""
        pytest.importorskip("s3fs")
        pytest.importorskip("moto.server")
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "helpers.atomic_moto", "--host", "127.0.0.1", "--port", str(self.port)]
        with (self.folder / "s3.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder)
        deadline = time.monotonic() + STARTS
        while not self._answers():
            said = (self.folder / "s3.log").read_text(errors="replace")
            assert time.monotonic() < deadline and self.process.poll() is None, f"moto's server: {said[-2000:]}"
            time.sleep(0.1)

    def make_bucket(self) -> str:
        """The address of a new, empty bucket."""
        self._buckets += 1
        request = urllib.request.Request(f"{self.url}/bucket-{self._buckets}", method="PUT")
        with urllib.request.urlopen(request, timeout=20):
            return f"s3://bucket-{self._buckets}"

    @contextmanager
    def reached_from_here(self) -> Iterator[None]:
        """This process reaches it, too. s3fs keeps what it has opened: the server of another test must not stay."""
        from s3fs import S3FileSystem

        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.env.items():
                patch.setenv(name, value)
            S3FileSystem.clear_instance_cache()
            yield
            S3FileSystem.clear_instance_cache()

    def kill(self) -> None:
        if self.process is not None:
            kill([self.process.pid])
            self.process.wait()
            self.process = None

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/moto-api/", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False
