"""A registered model brings its code with it, and asks an index for no name that this project does not own there."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import sde_ray
from sde_ray.analysis.strategy import assemble
from sde_ray.models.predictor import ADAPTER_CARD
from sde_ray.tracking.registry import LIBRARIES, code_paths, requirements, save_model


@pytest.fixture
def adapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An adapter's folder whose card names a module of the user's own, which imports another."""
    (tmp_path / "lab_axes.py").write_text("import lab_helper\nfrom sde_ray.design.format_text import LINES as TABS\n")
    (tmp_path / "lab_helper.py").write_text("")
    folder = tmp_path / "adapter"
    folder.mkdir()
    card = {"task": "masa:d1", "design": {"format": "lab_axes:TABS"}, "model": "tiny", "max_length": 64,
            "max_new_tokens": 8}  # fmt: skip
    (folder / ADAPTER_CARD).write_text(json.dumps(card))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return folder


def test_the_code_is_this_package_and_what_the_card_names(adapter: Path) -> None:
    names = [Path(path).name for path in code_paths(adapter)]
    assert names == ["sde_ray", "lab_axes.py", "lab_helper.py"]


def test_no_requirement_is_this_package_s_own_name() -> None:
    assert {line.partition("==")[0] for line in requirements()} == set(LIBRARIES)
    assert "sde_ray" not in str(requirements()) and "+" not in str(requirements())


@pytest.mark.slow
def test_the_requirements_are_what_answering_texts_imports() -> None:
    code = (
        "import sys, sde_ray.models.decoder, sde_ray.models.lora, sde_ray.tracking.pyfunc\n"
        "print(*(m.__file__ for n, m in sys.modules.items() if n.partition('.')[0] == 'sde_ray'), sep='\\n')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    tops = set[str]()
    for file in done.stdout.split():
        for node in ast.parse(Path(file).read_text(encoding="utf-8")).body:  # at the top: what is imported at once
            if isinstance(node, ast.Import):
                tops |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                tops.add(node.module.partition(".")[0])
    names = {"yaml" if name == "PyYAML" else name for name in LIBRARIES}
    assert tops - set(sys.stdlib_module_names) - {"sde_ray"} <= names
    assert "torch" in tops


@pytest.mark.slow
def test_a_saved_model_runs_its_own_copy_of_the_code(adapter: Path, tmp_path: Path) -> None:
    from helpers.planted import one_at_a_time, results

    save_model(tmp_path / "model", assemble(results(one_at_a_time()), "weighted_kappa"), adapter)
    assert "sde_ray" not in (tmp_path / "model" / "requirements.txt").read_text()
    code = "import lab_axes, sde_ray, sde_ray.tracking.pyfunc; print(sde_ray.__file__, lab_axes.__file__)"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "model" / "code")}
    done = subprocess.run([sys.executable, "-P", "-c", code], cwd="/", env=environment, capture_output=True, text=True,
                          check=True)  # fmt: skip
    assert all(path.startswith(str(tmp_path / "model" / "code")) for path in done.stdout.split())
    assert str(Path(sde_ray.__file__).parent) not in done.stdout
