"""A package holds what the check here has accepted: task files, modules and what they import; nothing else, no link."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import yaml

from sde_ray.errors import UserError
from sde_ray.sweep.cluster.package import SWEEP, Package, build_package
from sde_ray.tasks import get_task


def packed(folder: Path, sweep: Path) -> Package:
    folder.mkdir()
    return build_package(sweep, ["storage_path=/shared/runs"], folder)


def test_a_task_in_a_yaml_file_travels_with_its_data_under_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tasks").mkdir()
    rows = [{"text": f"n {n}", "answer": {"room": "good"}} for n in range(30)]
    (tmp_path / "tasks" / "hotels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    section = {"name": "hotels", "kind": "label", "slots": ["room"], "labels": ["good", "bad"],
               "metrics": ["my_metrics:LOUD", "accuracy"], "data": {"path": "hotels.jsonl"}}  # fmt: skip
    (tmp_path / "tasks" / "hotels.yaml").write_text(yaml.safe_dump(section))
    (tmp_path / "my_metrics.py").write_text("import my_helper\n\ndef LOUD(task, example, parsed): return 0.0\n")
    (tmp_path / "my_helper.py").write_text("")
    (tmp_path / "s.yaml").write_text("task: tasks/hotels.yaml\nout_of_domain: [mams@reviews]\n")
    (tmp_path / "reviews").mkdir()
    (tmp_path / "reviews" / "train.xml").write_text("<sentences/>")
    monkeypatch.chdir(tmp_path)
    package = packed(tmp_path / "p", sweep=tmp_path / "s.yaml")
    sent = yaml.safe_load((package.folder / SWEEP).read_text())
    assert sent["task"] == "tasks/hotels.yaml" and sent["out_of_domain"][0].startswith("mams@data/")
    assert (package.folder / "my_metrics.py").is_file() and (package.folder / "my_helper.py").is_file()
    here = [example.text for example in get_task("tasks/hotels.yaml").load("train")]
    monkeypatch.chdir(package.folder)
    for module in ("my_metrics", "my_helper"):
        sys.modules.pop(module, None)
    assert [example.text for example in get_task("tasks/hotels.yaml").load("train")] == here


def test_a_task_s_file_that_is_not_here_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("task: no/hotels.yaml\n")
    with pytest.raises(UserError, match='There is no file "no/hotels.yaml" here'):
        packed(tmp_path / "p", sweep=tmp_path / "s.yaml")


def test_what_a_module_imports_travels_with_it_from_wherever_it_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lib" / "lab_pkg" / "inner").mkdir(parents=True)
    for name in ("", "inner"):
        (tmp_path / "lib" / "lab_pkg" / name / "__init__.py").write_text("")
    (tmp_path / "lib" / "lab_axes.py").write_text("import json, yaml\nfrom lab_pkg.inner import deep\nTABS = 1\n")
    (tmp_path / "lib" / "lab_pkg" / "inner" / "deep.py").write_text("def f():\n    import lab_late\n")
    (tmp_path / "lib" / "lab_late.py").write_text("1 +")  # nothing is imported, so that a broken file is sent as it is
    (tmp_path / "lib" / "lab_unused.py").write_text("")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "s.yaml").write_text('task: masa:d1\naxes: {format: [lines, "lab_axes:TABS", "absent_axes:TABS"]}\n')
    monkeypatch.syspath_prepend(str(tmp_path / "lib"))
    monkeypatch.chdir(tmp_path / "elsewhere")
    package = packed(tmp_path / "p", sweep=tmp_path / "s.yaml")
    sent = {path.name for path in package.folder.iterdir()}
    assert sent == {"sweep.yaml", "sde_ray", "lab_axes.py", "lab_pkg", "lab_late.py"}
    assert (package.folder / "lab_pkg" / "inner" / "deep.py").is_file()
    assert package.external_paths == ("the module absent_axes",)
    assert "lab_axes" not in sys.modules


@pytest.mark.parametrize("model", ["./mymodel", "mymodel", "../mymodel", "~/mymodel"])
def test_a_model_of_this_machine_is_refused(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here" / "mymodel").mkdir(parents=True)
    (tmp_path / "s.yaml").write_text(f"task: masa:d1\nmodel: [tiny, {model}]\n")
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(UserError, match=r"a folder of this machine.*model=/shared/models/mymodel"):
        packed(tmp_path / "p", sweep=tmp_path / "s.yaml")


def test_a_model_of_the_cluster_is_named(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("task: masa:d1\nmodel: [tiny, /shared/models/llama, org/model]\n")
    assert packed(tmp_path / "p", sweep=tmp_path / "s.yaml").external_paths == ("/shared/models/llama",)


@pytest.mark.parametrize("target", ["secret.txt", "secrets"])
def test_no_link_is_followed_into_a_package(target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mams").mkdir()
    (tmp_path / "mams" / "train.xml").write_text("<sentences/>")
    (tmp_path / "mams" / "dev.xml").symlink_to("train.xml")  # within the folder: the same content
    (tmp_path / "secret.txt").write_text("hush")
    (tmp_path / "secrets").mkdir()
    (tmp_path / "s.yaml").write_text("task: mams@mams\n")
    monkeypatch.chdir(tmp_path)
    package = packed(tmp_path / "p", sweep=tmp_path / "s.yaml")
    assert (package.folder / "data" / "0" / "mams" / "dev.xml").read_text() == "<sentences/>"
    (tmp_path / "mams" / "link").symlink_to(tmp_path / target)
    with pytest.raises(UserError, match=r"mams/link is a link to .*, and links are not followed into a package"):
        packed(tmp_path / "q", sweep=tmp_path / "s.yaml")


def test_a_general_set_of_one_s_own_is_sent(tmp_path: Path) -> None:
    (tmp_path / "own.jsonl").write_text("".join(f'{{"text": "passage {n}"}}\n' for n in range(5)))
    sweep = tmp_path / "x.yaml"
    sweep.write_text("task: masa:d1\nstorage_path: s3://bucket/runs\ngeneral: {score: all, path: own.jsonl}\n")
    (tmp_path / "package").mkdir()
    build_package(sweep, (), tmp_path / "package")
    sent = yaml.safe_load((tmp_path / "package" / "sweep.yaml").read_text())["general"]["path"]
    assert (tmp_path / "package" / sent).read_text() == (tmp_path / "own.jsonl").read_text()
