"""The wheel: what pip installs has the shipped sweeps with their data, and works in an empty folder by itself."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUILT_FROM = ("pyproject.toml", "README.md", "LICENSE", "sde_ray", "sweeps")
SMALL = [
    *("designs=[baseline]", "search={method: grid}", "seeds=[0]", "train_sizes=[8]", "eval_size=4"),
    *("out_of_domain=[]", "mlflow.enabled=false", "validation={seeds: [101], test_size: 4, controls: [baseline]}"),
]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, built from a copy, so that nothing is left here."""
    pytest.importorskip("hatchling", reason="comes with `pip install -e .[dev]`")
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in BUILT_FROM:
        path = ROOT / name
        copy = shutil.copytree if path.is_dir() else shutil.copyfile
        copy(path, source / name)
    code = f"import hatchling.build as b; print(b.build_wheel({str(out)!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out / done.stdout.split()[-1]


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the wheel installs."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def sde_ray(installed: Path, folder: Path, *words: str) -> str:
    """The command of the installed package in a folder of the user's; it must succeed."""
    others = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path not in ("", str(ROOT))]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(installed), *others])}
    command = [sys.executable, "-m", "sde_ray", *words]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
def test_the_wheel_has_every_sweep_and_its_data(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.startswith("sde_ray/shipped_sweeps/")]
        packed = {name.rpartition("/")[2]: archive.read(name) for name in names}
    assert packed == {path.name: path.read_bytes() for path in (ROOT / "sweeps").iterdir()}
    with zipfile.ZipFile(wheel) as archive:
        assert {"sde_ray/py.typed", "sde_ray/models/tiny/config.json"} <= {*archive.namelist()}


@pytest.mark.slow
def test_an_editable_install_has_no_copies(tmp_path: Path) -> None:
    """`make` installs so: a folder of the package's name in site-packages would go stale, and mislead type checkers."""
    pytest.importorskip("editables", reason="comes with `pip install -e .[dev]`")
    code = f"import hatchling.build as b; print(b.build_editable({str(tmp_path)!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(tmp_path / done.stdout.split()[-1]) as archive:
        assert [name for name in archive.namelist() if ".dist-info/" not in name and not name.endswith(".pth")] == []


@pytest.mark.slow
def test_the_installed_package_knows_them_without_the_checkout(installed: Path, tmp_path: Path) -> None:
    listed = json.loads(sde_ray(installed, tmp_path, "demo", "--list", "--json"))
    assert {one["name"] for one in listed} == {path.stem for path in (ROOT / "sweeps").glob("*.yaml")}
    sde_ray(installed, tmp_path, "demo", "bring_your_own", "--copy")
    shutil.copy(tmp_path / "bring_your_own.jsonl", tmp_path / "stays.jsonl")
    sde_ray(installed, tmp_path, "init", "stays.jsonl")
    for sweep in ("bring_your_own.yaml", "stays.yaml", "zero3"):
        assert sde_ray(installed, tmp_path, "plan", sweep)


@pytest.mark.walk
def test_the_demo_runs_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    sde_ray(installed, tmp_path, "demo", *(word for setting in SMALL for word in ("--set", setting)))
    assert (tmp_path / "runs/quickstart/report.html").is_file()
    rows = [json.loads(line) for line in (tmp_path / "runs/quickstart/ledger.jsonl").read_text().splitlines()]
    assert {row["status"] for row in rows} == {"finished"}
    answer = json.loads(sde_ray(installed, tmp_path, "predict", "runs/quickstart", "Good soup.", "--json"))
    assert len(answer) == 1
