"""A Ray cluster and an MLflow server of real processes on this machine, started and ended by process id.

Own ports, own temp folder, own token: nothing is shared with another Ray on the host, and `ray stop` is never called.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

TOKEN = "t" * 64
BIN = Path(sys.executable).parent
STARTS = 240.0  # seconds that a machine under load may take


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def family(pid: int) -> list[psutil.Process]:
    """A process and all that it has started, children's children too."""
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def kill(pids: Iterable[int]) -> None:
    """kill -9 of these processes with all that they have started; returns when they are gone."""
    processes = [one for pid in pids for one in family(pid)]
    for one in processes:
        try:
            one.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            pass
    psutil.wait_procs(processes, timeout=30)


def own_namespace() -> list[str]:
    """The command before a shell that may mount what only it and its children see; skips where nobody may."""
    for options in (["-m"], ["-Urm"]):
        command = ["unshare", *options]
        if shutil.which("unshare") and not subprocess.run([*command, "true"], capture_output=True).returncode:
            return command
    pytest.skip("this machine lets nobody mount a file system of his own (unshare -Urm)")


@dataclass(frozen=True)
class Machine:
    """A machine as far as files go: a home, a temporary and a working folder; what is `hidden` is not there.

    Its network is this machine's, and so are the packages that are installed.
    """

    folder: Path
    hidden: tuple[Path, ...] = ()

    def make(self) -> Machine:
        for one in (self.home, self.work, self.folder / "tmp"):
            one.mkdir(parents=True)
        return self

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def work(self) -> Path:
        return self.folder / "work"

    @property
    def env(self) -> dict[str, str]:
        own = {"HOME": self.home, "TMPDIR": self.folder / "tmp", "SDE_OWN_SWEEPS": self.home / ".own-sweeps"}
        own |= {"SDE_MIRROR": self.home / "mirror", "XDG_CACHE_HOME": self.home / ".cache"}
        return {name: str(path) for name, path in own.items()}

    def command(self, *command: str) -> list[str]:
        """The command as it starts there: in its working folder, in a mount namespace of its own."""
        mounts = "".join(f'mount -t tmpfs -o size=64m tmpfs "{path}" && ' for path in self.hidden)
        return [*own_namespace(), "sh", "-c", f'{mounts}cd "{self.work}" && exec "$@"', "sh", *command]


@dataclass
class Nodes:
    """A head that runs drivers only, and as many nodes with a CPU each as are added; `variables` are in all of them."""

    variables: dict[str, str] = field(default_factory=dict)
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="sdn", dir="/tmp")))
    port: int = field(default_factory=free_port)
    dashboard: int = field(default_factory=free_port)
    nodes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    drivers: Drivers = field(init=False)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.dashboard}"

    @property
    def env(self) -> dict[str, str]:
        """What a process needs to work with this cluster, and with no other."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        return {
            **clean,
            "PATH": os.pathsep.join([str(BIN), os.environ["PATH"]]),
            "RAY_TMPDIR": str(self.folder),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": TOKEN,
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_health_check_initial_delay_ms": "1000",
            "RAY_health_check_period_ms": "1000",
            "RAY_health_check_failure_threshold": "5",
            "RAY_worker_niceness": "0",  # else the trials starve wherever the machine has something else to do
            **self.variables,
        }

    def start(self, nodes: int = 2, head_cpus: int = 0) -> None:
        """`head_cpus`: the head runs trials, too; without other nodes, a whole cluster for the price of one start."""
        self.drivers = Drivers(self.env, self.folder)
        options = [f"--port={self.port}", f"--dashboard-port={self.dashboard}", "--dashboard-host=127.0.0.1"]
        options.append(f"--ray-client-server-port={free_port()}")
        self._ray("--head", *options, "--include-dashboard=true", f"--num-cpus={head_cpus}")
        self._wait(lambda: self.ask("/api/version") is not None, "the head's dashboard")
        if nodes:
            self.add(nodes)

    def add(self, count: int = 1, before_it: Sequence[str] = ()) -> None:
        """Start nodes with a CPU each; returns when the cluster has them. `before_it`: the command that starts them.

        Ray gives a node 30 s to start, which is too little where the machine is busy: one that gave up starts again.
        """
        before = {one["node_id"] for one in self.alive()}
        options = (f"--address={self.address}", "--num-cpus=1")
        started = [self._ray(*options, before_it=before_it) for _ in range(count)]
        tries = 3

        def joined() -> bool:
            nonlocal tries
            for place, node in enumerate(started):
                if node.poll() is not None and tries:
                    tries -= 1
                    self.nodes.remove(node)
                    started[place] = self._ray(*options, before_it=before_it)
            return len({one["node_id"] for one in self.alive()} - before) >= count

        self._wait(joined, "a new node")

    def alive(self) -> list[dict[str, Any]]:
        return [one for one in self.listed("nodes") if one["state"] == "ALIVE"]

    def remove(self, node: subprocess.Popen[bytes]) -> None:
        """kill -9 of a whole node."""
        kill([node.pid])
        node.wait()
        self.nodes.remove(node)

    def listed(self, what: str) -> list[dict[str, Any]]:
        """Ray's own list of nodes, actors, placement_groups."""
        told = self.ask(f"/api/v0/{what}?limit=1000")
        return list(told["data"]["result"]["result"]) if told else []

    def wait_until_idle(self) -> None:
        """Until nothing of a sweep is left: no placement group, no trial's process. Ray cleans up, and has a minute."""
        deadline = time.monotonic() + 60
        while True:
            groups = [one for one in self.listed("placement_groups") if one["state"] != "REMOVED"]
            actors = [one for one in self.listed("actors") if one["state"] != "DEAD"]
            if not groups and not actors:
                return
            assert time.monotonic() < deadline, (groups, actors)
            time.sleep(0.2)

    def ask(self, path: str) -> Any:
        request = urllib.request.Request(self.url + path, headers={"Authorization": f"Bearer {TOKEN}"})
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return json.load(answer)
        except (OSError, urllib.error.URLError, ValueError):
            return None

    def close(self) -> None:
        if hasattr(self, "drivers"):
            self.drivers.close()
        kill(node.pid for node in self.nodes)
        for node in self.nodes:
            node.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _ray(self, *options: str, before_it: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        log = (self.folder / f"start-{len(self.nodes)}.log").open("wb")
        command = [*before_it, sys.executable, "-m", "ray.scripts.scripts", "start", *options]
        command += ["--disable-usage-stats", "--block"]
        # Two nodes of one machine, and other Rays on it, must not meet at a default port.
        command += [f"--dashboard-agent-listen-port={free_port()}", "--object-store-memory=80000000"]
        node = subprocess.Popen(command, env=self.env, stdout=log, stderr=log, cwd=self.folder)
        self.nodes.append(node)
        return node

    def _wait(self, condition: Any, what: str) -> None:
        deadline = time.monotonic() + STARTS
        while not condition():
            logs = "\n".join(path.read_text(errors="replace") for path in self.folder.glob("start-*.log"))
            assert time.monotonic() < deadline, f"{what} did not come: {logs[-2000:]}"
            assert self.nodes[-1].poll() is None, f"{what} ended: {logs[-2000:]}"
            time.sleep(0.3)


@dataclass
class MlflowServer:
    """`mlflow server` on sqlite; the store stays when the server is killed."""

    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.begin()
        self.wait()

    def begin(self) -> None:
        """Start it; it answers some seconds later."""
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--backend-store-uri", f"sqlite:///{self.folder / 'mlflow.db'}", "--workers", "1"]
        command += ["--artifacts-destination", str(self.folder / "artifacts")]
        env = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # nothing of ours is a job of the server's
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder, env=env)

    def wait(self) -> None:
        assert self.process is not None
        deadline = time.monotonic() + STARTS
        while not self.answers():
            text = (self.folder / "server.log").read_text(errors="replace")
            assert time.monotonic() < deadline and self.process.poll() is None, f"mlflow server: {text[-2000:]}"
            time.sleep(0.3)

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(self.uri + "/health", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def kill(self) -> None:
        if self.process is not None:
            kill([self.process.pid])
            self.process.wait()
            self.process = None


class Drivers:
    """Starts drivers of one cluster quickly: forks of a process that has imported what they need (`fake_driver`)."""

    def __init__(self, env: Mapping[str, str], folder: Path) -> None:
        with (folder / "drivers.log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "helpers.fake_driver", "fork"],
                env=dict(env),
                cwd=folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def start(
        self, arguments: Sequence[str], env: Mapping[str, str], output: Path, command: str = "fake_driver"
    ) -> Driver:
        """`COMMAND ARGUMENTS` with these variables besides the cluster's; what it prints goes to `output`.

        What `sde-ray` prints on stderr goes to OUTPUT.err: its stdout is read by programs.
        """
        wanted: dict[str, Any] = {"command": command, "arguments": list(arguments), "env": dict(env)}
        errors = f"{output}.err" if command == "sde-ray" else str(output)
        wanted |= {"folder": str(output.parent), "output": str(output), "errors": errors}
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(wanted) + "\n")
        self._process.stdin.flush()
        return Driver(int(self._process.stdout.readline()), output)

    def running(self) -> list[psutil.Process]:
        """Drivers that have not ended, and whatever else has come of them."""
        return family(self._process.pid)[1:]

    def close(self) -> None:
        kill([self._process.pid])
        self._process.wait()


@dataclass(frozen=True)
class Driver:
    """A driver's process."""

    pid: int
    output: Path

    def poll(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""
        note = Path(f"{self.output}.ended")
        return int(note.read_text()) if note.exists() else None

    def said(self) -> str:
        return self.output.read_text(encoding="utf-8", errors="replace") if self.output.exists() else ""

    def wait(self, timeout: float) -> int:
        deadline = time.monotonic() + timeout
        while (code := self.poll()) is None:
            assert time.monotonic() < deadline, f"the driver does not end: {self.said()[-3000:]}"
            time.sleep(0.05)
        return code
