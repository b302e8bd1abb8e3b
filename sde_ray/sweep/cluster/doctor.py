"""Is this machine ready? Every check gives a row: ok, warn or fail, what was found, and the remedy.

    examine(Target(storage="runs")) -> [Check("python", "ok", "3.11.7"), ...]

A check is a function of `Target` and a row of `CHECKS`. A check that breaks is itself a warning, never the end of the
examination: a doctor must not be the sickest one in the room.
"""

from __future__ import annotations

import http.client
import os
import platform
import re
import shutil
import socket
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import sde_ray
from sde_ray.safe_text import mask
from sde_ray.storage.remote import REMEDY, RemoteFolder, reason
from sde_ray.storage.uri import is_uri, local_path

State = Literal["ok", "warn", "fail"]
PACKAGES = ("torch", "ray", "transformers", "peft", "deepspeed", "datasets", "mlflow", "optuna")
GIB = 2**30
LOCK_AGE = 600  # seconds; DeepSpeed's slowest kernel compiles in less


@dataclass(frozen=True)
class Check:
    """Result of one check; `remedy` is empty when nothing has to be done."""

    name: str
    state: State
    found: str
    remedy: str = ""


@dataclass(frozen=True)
class Target:
    """What is examined: this machine, with a sweep's storage folder and tracking address."""

    storage: str | Path = "runs"
    tracking_uri: str | None = None


def examine(target: Target) -> list[Check]:
    """All checks, in the order of `CHECKS`."""
    return [row for name, check in CHECKS.items() for row in _run_check(name, check, target)]


def _run_check(name: str, check: Callable[[Target], list[Check]], target: Target) -> list[Check]:
    try:
        return check(target)
    except Exception as error:
        return [Check(name, "warn", f"could not be checked: {type(error).__name__}: {error}")]


def python(target: Target) -> list[Check]:
    version = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    return [Check("python", "ok", version)]


def packages(target: Target) -> list[Check]:
    checks = []
    for name in PACKAGES:
        try:
            checks.append(Check(name, "ok", metadata.version(name)))
        except metadata.PackageNotFoundError:
            checks.append(Check(name, "fail", "not installed", f"pip install -c constraints.txt {name}"))
    return checks


def compiler(target: Target) -> list[Check]:
    missing = [
        tool for tool in ("g++", "ninja") if not (shutil.which(tool) or (Path(sys.prefix) / "bin" / tool).exists())
    ]
    if not missing:
        return [Check("compiler", "ok", "g++ and ninja")]
    remedy = (
        "Only a `deepspeed` section with compiled kernels (CPUAdam, offload) needs them: apt install g++ ninja-build"
    )
    return [Check("compiler", "warn", f"no {' and no '.join(missing)}", remedy)]


def build_lock(target: Target) -> list[Check]:
    """A process killed while a kernel compiles leaves a lock on which every later build waits for ever."""
    root = Path(os.environ.get("TORCH_EXTENSIONS_DIR") or Path.home() / ".cache" / "torch_extensions")
    locks = [lock for lock in root.glob("**/lock") if time.time() - lock.stat().st_mtime > LOCK_AGE]
    if not locks:
        return [Check("build lock", "ok", "none left behind")]
    names = " ".join(map(str, locks))
    return [Check("build lock", "fail", f"left by a killed build: {names}", f"No build runs? Then: rm {names}")]


def cores(target: Target) -> list[Check]:
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return [Check("cores", "ok", f"{count}", "" if count > 1 else "One trial at a time; the demo takes twice as long.")]


def memory(target: Target) -> list[Check]:
    """What is free, within the container's limit where there is one."""
    import psutil

    free = psutil.virtual_memory().available
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.is_file() and limit.read_text().strip().isdigit():
        free = min(free, int(limit.read_text()))
    state: State = "ok" if free > 3 * GIB else "warn"
    remedy = (
        ""
        if state == "ok"
        else "A worker needs about 1.5 GiB beside its model: set resources.max_concurrent_trials: 1."
    )
    return [Check("memory", state, f"{free / GIB:.1f} GiB free", remedy)]


def gpu(target: Target) -> list[Check]:
    import torch

    if not torch.cuda.is_available():
        return [Check("gpu", "ok", "none: trials run on the CPU (right for the embedded base)")]
    devices = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    found = ", ".join(f"{device.name} {device.total_memory / GIB:.0f} GiB" for device in devices)
    return [Check("gpu", "ok", f"{found}: each worker takes one, unless resources.resources_per_worker.GPU says else")]


def disk(target: Target) -> list[Check]:
    if is_uri(target.storage):
        return [_check_remote_storage(str(target.storage))]
    folder = Path(target.storage).absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if not os.access(folder, os.W_OK):
        return [Check("storage", "fail", f"{folder} cannot be written", "Set `storage_path` to a folder of yours.")]
    state: State = "fail" if free < GIB // 2 else "warn" if free < 3 * GIB else "ok"
    remedy = "" if state == "ok" else "Free some space, or set `storage_path` to another disk."
    return [Check("storage", state, f"{free / GIB:.1f} GiB free at {folder}", remedy)]


def _check_remote_storage(storage: str) -> Check:
    """A marker goes to the store and comes back."""
    name, remote = f".doctor-{os.getpid()}", RemoteFolder(storage)
    try:
        remote.write(name, b"here")
        read = remote.read(name)
        remote.remove([name])
    except Exception as error:
        return Check("storage", "fail", f"{storage}: {reason(error)}", REMEDY)
    if read != b"here":
        return Check("storage", "fail", f"{storage} does not give back what was written there", REMEDY)
    return Check("storage", "ok", f"{storage} answers; its mirror here is {local_path(storage)}")


def tracking(target: Target) -> list[Check]:
    """MLflow 3 refuses the old file store; a server must answer before the sweep relies on it."""
    uri = target.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or ""
    masked = re.sub(r"//[^/]*@", "//***@", str(mask(uri)))
    scheme = urlsplit(uri).scheme
    if not uri:
        return [Check("mlflow tracking", "ok", f"sqlite in {local_path(str(target.storage))}/mlflow.db")]
    if scheme in ("http", "https"):
        return [_check_server(uri, masked)]
    if "://" in uri and scheme.partition("+")[0] in ("sqlite", "postgresql", "mysql", "mssql", "databricks"):
        return [Check("mlflow tracking", "ok", masked)]
    remedy = "Use sqlite:////absolute/path/mlflow.db, or a server's http address."
    return [Check("mlflow tracking", "fail", f"{masked}: MLflow 3 keeps no runs in plain files", remedy)]


def _check_server(uri: str, masked: str) -> Check:
    try:
        address = re.sub(r"//\S*@", "//", uri).rstrip("/")  # urllib takes a password for a port, and tells it
        with urllib.request.urlopen(address + "/health", timeout=5) as answer:
            return Check("mlflow tracking", "ok", f"{masked} answers ({answer.status})")
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            remedy = "Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN."
            return Check("mlflow tracking", "fail", f"{masked} refuses us ({error.code})", remedy)
        return Check("mlflow tracking", "warn", f"{masked} answers with {error.code}", "Is this an MLflow server?")
    except (OSError, ValueError, http.client.HTTPException) as error:
        remedy = "Start it (mlflow server --backend-store-uri sqlite:///mlflow.db), or leave tracking_uri out."
        return Check("mlflow tracking", "fail", f"{masked} does not answer: {error}", remedy)


def ray_address(target: Target) -> list[Check]:
    """Ray attaches to the address a file or variable names, also when that cluster is long gone."""
    pointer = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()) / "ray" / "ray_current_cluster"
    addresses = {"RAY_ADDRESS": os.environ.get("RAY_ADDRESS", "")}
    addresses[str(pointer)] = pointer.read_text().strip() if pointer.is_file() else ""
    checks = []
    for source, address in addresses.items():
        host, _, port = address.rpartition("://")[2].rpartition(":")
        if not port.isdigit():
            continue
        if _listens(host, int(port)):
            checks.append(Check("ray cluster", "ok", f"{address} ({source})"))
            continue
        remedy = f"unset {source}" if source == "RAY_ADDRESS" else f"Nobody uses that cluster? Then: rm {source}"
        checks.append(Check("ray cluster", "warn", f"{source} names {address}, where nothing listens", remedy))
    return checks or [Check("ray cluster", "ok", "none: Ray starts on this machine with each sweep")]


def _listens(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=2):
            return True
    except OSError:
        return False


def embedded_model(target: Target) -> list[Check]:
    folder = Path(sde_ray.__file__).parent / "models" / "tiny"
    if not (folder / "config.json").is_file() or not list(folder.glob("*.safetensors")):
        remedy = "Reinstall sde_ray, or set `model` to another one."
        return [Check("embedded model", "fail", f"missing in {folder}", remedy)]
    size = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
    return [Check("embedded model", "ok", f"tiny, {size / 2**20:.1f} MiB")]


CHECKS: dict[str, Callable[[Target], list[Check]]] = {
    "python": python,
    "packages": packages,
    "compiler": compiler,
    "build lock": build_lock,
    "cores": cores,
    "memory": memory,
    "gpu": gpu,
    "storage": disk,
    "mlflow tracking": tracking,
    "ray cluster": ray_address,
    "embedded model": embedded_model,
}
