"""What a command puts on the screen by itself: its first words, its own warnings, none of a library."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import warnings
from pathlib import Path

import pytest

from sde_ray.cli import app as cli

HEAVY = {"ray", "torch", "transformers", "mlflow", "deepspeed"}


def test_a_run_speaks_before_anything_heavy_is_imported() -> None:
    code = (
        "import sys, sde_ray.cli.run as run\n"
        "class First(Exception): pass\n"
        "def load(*given): raise First\n"
        "import sde_ray.config.load; sde_ray.config.load.load_config = load\n"
        "try: run.run('x.yaml')\n"
        f"except First: print(sorted({HEAVY!r} & set(sys.modules)))\n"
    )
    # what the command itself imports before its first word, and before it reads the sweep
    code = code.replace("import sde_ray.config.load;", "import sde_ray.config.load, sde_ray.cli.views.live;")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "Starting: the plan first, then Ray.\n"
    assert done.stdout.strip() == "[]"


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> pytest.CaptureFixture[str]:
    monkeypatch.setattr(warnings, "showwarning", cli._show_warning)
    monkeypatch.setattr(sys, "warnoptions", [])
    monkeypatch.setattr(cli, "_warned", set())
    return capsys


def run_in(file: Path, source: str) -> None:
    """Run code as if it stood in this file."""
    exec(compile(source, str(file), "exec"), {"warnings": warnings})


def test_an_own_warning_is_one_line_once_whoever_called(shown: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        for _ in range(3):
            run_in(
                cli.PACKAGE / "sweep" / "x.py", "warnings.warn('Tracking failed in x:\\n server away', stacklevel=2)"
            )
    assert shown.readouterr().err == "warning: Tracking failed in x: server away\n"


def test_a_warning_of_a_library_is_not_shown_unless_asked_for(
    shown: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        for folder in ("stdlib", "purelib"):
            run_in(Path(sysconfig.get_path(folder)) / "mlflow" / "x.py", "warnings.warn('hint is AnyType')")
        assert shown.readouterr().err == ""
        run_in(Path("/home/me/my_metrics.py"), "warnings.warn('an odd answer')")
        assert shown.readouterr().err == "warning: an odd answer\n", "the user's own code is no library"
        monkeypatch.setattr(sys, "warnoptions", ["default"])
        run_in(Path(sysconfig.get_path("purelib")) / "x.py", "warnings.warn('hint is AnyType')")
        assert "AnyType" in shown.readouterr().err
