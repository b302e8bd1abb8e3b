"""Shipped sweeps by name, from any folder; and the command that lists, copies and runs them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from helpers.shipped_sweeps import SWEEPS
from typer.testing import CliRunner, Result

from sde_ray.cli.app import app
from sde_ray.config.load import load_config
from sde_ray.config.shipped import copy_sweep, find_sweep, shipped_sweeps, title
from sde_ray.errors import UserError


@pytest.fixture(autouse=True)
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*words: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, [*words])
    assert result.exit_code == code, result.output + repr(result.exception)
    return result


def test_every_sweep_of_the_checkout_has_its_name() -> None:
    assert dict(shipped_sweeps()) == SWEEPS
    assert all(20 < len(title(path)) < 200 and title(path)[-1] in ".?" for path in SWEEPS.values())


def test_a_bare_name_is_a_shipped_sweep_where_nothing_else_is(empty: Path) -> None:
    assert load_config("quickstart").name == "quickstart"
    assert find_sweep(Path("quickstart")) == SWEEPS["quickstart"]
    (empty / "quickstart").write_text("mine")
    assert find_sweep(Path("quickstart")) == Path("quickstart")
    assert find_sweep(Path("runs/quickstart")) == Path("runs/quickstart")


@pytest.mark.parametrize("name", ["quickstart.yaml", "sweeps/quickstart.yaml"])
def test_a_shipped_file_that_is_not_here_is_told_by_its_name(name: str) -> None:
    with pytest.raises(UserError, match="comes with the package: give quickstart, as in sde-ray plan quickstart"):
        load_config(name)


def test_a_misspelt_name_is_answered_with_the_shipped_one() -> None:
    with pytest.raises(
        UserError, match=r'no file "quikstart". Did you mean "quickstart"\? That is a sweep of the package'
    ):
        load_config("quikstart")


def test_a_file_that_is_nowhere_is_told_as_before() -> None:
    with pytest.raises(UserError, match='There is no file "hotels.yaml"'):
        load_config("hotels.yaml")


@pytest.mark.parametrize("command", [["plan", "bring_your_own"], ["show", "bring_your_own"]])
def test_commands_take_the_name_in_an_empty_folder(command: list[str], empty: Path) -> None:
    assert "hotels" in call(*command).output or "room" in call(*command).output
    assert list(empty.iterdir()) == []


def test_the_list() -> None:
    listed = json.loads(call("demo", "--list", "--json").stdout)
    assert [one["name"] for one in listed] == sorted(SWEEPS)
    assert "quickstart" in call("demo", "--list").output


def test_a_copy_has_its_data_and_runs_as_ones_own(empty: Path) -> None:
    said = " ".join(call("demo", "bring_your_own", "--copy").output.split())
    assert "Wrote bring_your_own.yaml, bring_your_own.jsonl. Next: sde-ray plan bring_your_own.yaml" in said
    assert {path.name for path in empty.iterdir()} == {"bring_your_own.yaml", "bring_your_own.jsonl"}
    assert load_config("bring_your_own.yaml").task[0]["data"]["path"] == str(empty / "bring_your_own.jsonl")  # type: ignore[index]


def test_a_copy_never_writes_over_a_file(empty: Path) -> None:
    (empty / "quickstart.yaml").write_text("mine")
    assert "quickstart.yaml is here already" in call("demo", "--copy", code=2).output
    assert (empty / "quickstart.yaml").read_text() == "mine"
    call("demo", "--copy", "--force")
    assert (empty / "quickstart.yaml").read_bytes() == SWEEPS["quickstart"].read_bytes()


def test_an_unknown_name_is_told(empty: Path) -> None:
    told = " ".join(call("demo", "quikstart", code=2).output.split())
    assert 'No shipped sweep is called "quikstart". Did you mean "quickstart"?' in told
    with pytest.raises(UserError, match="No shipped sweep"):
        copy_sweep("nothing", empty)


def test_it_is_sent_to_a_cluster_by_its_name(empty: Path) -> None:
    from sde_ray.sweep.cluster.package import build_package

    (empty / "out").mkdir()
    build_package(Path("bring_your_own"), ["storage_path=/shared/runs"], empty / "out")
    assert list((empty / "out").rglob("bring_your_own.jsonl"))
    shutil.rmtree(empty / "out")
