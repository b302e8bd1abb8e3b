"""The images of cluster/ and the extras they install: pinned, beside each other, and not as root."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

ROOT = Path(__file__).parents[2]
IMAGES = [ROOT / "cluster" / "Dockerfile", ROOT / "cluster" / "mlflow" / "Dockerfile"]
each_image = pytest.mark.parametrize("path", IMAGES, ids=["sde-ray", "mlflow"])
OF_USERS = ("s3", "gcs", "azure", "postgresql")


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()[1:]
    return {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}


def extras() -> dict[str, list[Requirement]]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {name: [Requirement(line) for line in lines] for name, lines in project["optional-dependencies"].items()}


@each_image
def test_the_image_starts_from_an_exact_tag_and_is_not_root(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert re.findall(r"^FROM (\S+)", text, re.MULTILINE) == ["python:3.11.15-slim-bookworm"]
    assert re.findall(r"^USER (\S+)", text, re.MULTILINE)[-1] == "1000"


@each_image
def test_what_the_image_copies_is_sent_to_the_builder(path: Path) -> None:
    """`.dockerignore` excludes all but what it names: no results, no secrets, no .git in a layer."""
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert ignored[1] == "*"
    for line in re.findall(r"^COPY (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE):
        sources = [word for word in line.split()[:-1] if not word.startswith("--")]
        assert sources and all((ROOT / source).exists() and f"!{source}" in ignored for source in sources)


@each_image
def test_the_image_installs_pinned_packages_only(path: Path) -> None:
    text = path.read_text(encoding="utf-8").replace("\\\n", "")
    words = [word.strip("'\"") for line in re.findall(r"pip install ([^&;\n]*)", text) for word in line.split()]
    names = [re.sub(r"\[.*", "", word) for word in words if word[0] not in "-." and word != "constraints.txt"]
    assert "boto3" in names and {canonicalize_name(name) for name in names} <= set(pins())
    assert text.count("pip install") == text.count("pip install --no-cache-dir -c constraints.txt")


def test_the_image_opens_every_kind_of_storage() -> None:
    text = IMAGES[0].read_text(encoding="utf-8")
    assert "'.[" + ",".join(OF_USERS) + "]'" in text
    assert "google-api-python-client" in text, "Ray's autoscaler on Google Cloud"


@pytest.mark.parametrize("extra", OF_USERS)
def test_the_extra_is_pinned(extra: str) -> None:
    for one in extras()[extra]:
        assert one.specifier.contains(pins()[canonicalize_name(one.name)]), one


def test_every_pin_suits_what_the_installed_packages_ask_for() -> None:
    """boto3 that wants a newer botocore than s3fs allows, say: a pip that is given both pins refuses."""
    versions = pins()
    faults = []
    for name, version in versions.items():
        try:
            package = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        if package.version != version:
            continue
        for needed in map(Requirement, package.requires or ()):
            pin = versions.get(canonicalize_name(needed.name))
            wanted = needed.marker is None or needed.marker.evaluate({"extra": ""})
            if pin and wanted and not needed.specifier.contains(pin, prereleases=True):
                faults.append(f"{name}=={version} asks for {needed}, the pin is {pin}")
    assert faults == []


@pytest.mark.long
def test_the_extras_install_beside_the_pinned_set(tmp_path: Path) -> None:
    """pip's own resolver, without an installation; needs a package index."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--ignore-installed"]
    packages = [str(one) for extra in OF_USERS for one in extras()[extra]]
    pinned = [f"{name}=={pins()[name]}" for name in ("fsspec", "aiohttp", "google-auth", "mlflow", "boto3")]
    command += ["-c", str(ROOT / "constraints.txt"), *packages, *pinned, "google-api-python-client"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    if "No matching distribution" in done.stderr and "from versions: none" in done.stderr:
        pytest.skip("no package index can be reached")
    assert done.returncode == 0, done.stderr[-2000:]
