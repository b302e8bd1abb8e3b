"""README, docs, CONTRIBUTING and the launchers' page say only what is so.

Commands fit the real command line, cheap ones run; YAML fits the schema; JSON and Python parse; links, named files,
tests, modules and keys exist; README's example is what the package renders. `helpers.pages` has the checks, and each is
tried on a broken piece.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml
from helpers.pages import (
    ROOT,
    Page,
    check_command,
    check_json,
    check_key,
    check_link,
    check_name,
    check_python,
    check_shell,
    check_yaml,
    keys_of,
    links,
    pages,
    words_of,
)
from helpers.readme_example import example
from typer.testing import CliRunner

from sde_ray.cli.app import app
from sde_ray.data import recognition, schema_of
from sde_ray.data.record_values import plain_answer
from sde_ray.design.designs import make_design
from sde_ray.design.render import render_sample
from sde_ray.tasks import get_task
from sde_ray.tasks.custom import task_from_yaml
from sde_ray.testing import AxisOptionContract, MetricContract

PAGES = pages()
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
MOST_LINES_OF_README = 175


def wrong(complaints: list[str]) -> list[str]:
    return [complaint for complaint in complaints if complaint]


def own_task_page() -> Page:
    return next(page for page in PAGES if page.name == "docs/your-own-task.md")


@pytest.fixture
def user_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with the shipped sweeps, a user's own two files, and the package of docs/axes.md."""
    shutil.copytree(ROOT / "sweeps", tmp_path / "sweeps")
    for name in ("bring_your_own.yaml", "bring_your_own.jsonl"):
        shutil.copy(ROOT / "sweeps" / name, tmp_path)
    line = next(block for block in own_task_page().blocks("json") if "hang" in block)
    rows = [json.dumps({**json.loads(line), "text": f"{n} hang"}) for n in range(9)]
    (tmp_path / "tickets.jsonl").write_text("\n".join(rows), encoding="utf-8")
    for name, word in (("order.schema.json", '"title": "Order"'), ("orders.jsonl", "lamps"), ("news.jsonl", "rebels")):
        block = next(block for block in own_task_page().blocks("json") if word in block)
        (tmp_path / name).write_text(block, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


# ---- commands --------------------------------------------------------------------------------------------------------


@each_page
def test_every_command_fits_the_command_line(page: Page) -> None:
    assert wrong([f"{c}: {e}" for c, whole in page.commands() if (e := check_command(c, whole))]) == []


@each_page
def test_every_shell_line_names_targets_and_tests_that_exist(page: Page) -> None:
    lines = [line for block in page.blocks("sh") for line in block.splitlines()]
    assert wrong([check_shell(line) for line in lines]) == []


def test_there_are_commands_to_check() -> None:
    named = {words_of(command)[0] for page in PAGES for command, whole in page.commands() if whole}
    assert {"run", "plan", "show", "predict", "score", "robustness", "analyze", "submit", "rationales"} <= named


@pytest.mark.parametrize(
    ("command", "whole", "complaint"),
    [
        ("sde-ray rnu sweeps/quickstart.yaml", True, "No such command 'rnu'"),
        ("sde-ray plan sweeps/quickstart.yaml --trails 3", True, "No such option: --trails"),
        ("sde-ray plan", True, "Missing argument"),
        ("sde-ray plan", False, ""),
        ("sde-ray plan a.yaml b.yaml", False, "unexpected extra argument"),
        ("sde-ray show -n none", True, "valid integer"),
        ("sde-ray bench nothing", False, "No such command 'nothing'"),
    ],
)
def test_a_broken_command_is_seen(command: str, whole: bool, complaint: str) -> None:
    assert complaint in check_command(command, whole) and bool(check_command(command, whole)) == bool(complaint)


CHEAP = {"show", "plan", "axes", "tasks"}
CHEAP_COMMANDS = sorted(
    {
        " ".join(words_of(command))
        for page in PAGES
        for command, whole in page.commands()
        if whole and words_of(command)[0] in CHEAP and "SWEEP" not in command
    }
)


@pytest.mark.parametrize("command", CHEAP_COMMANDS)
def test_a_command_that_only_reads_runs(command: str, user_folder: Path) -> None:
    done = CliRunner().invoke(app, command.split())
    assert done.exit_code == 0, done.output
    assert done.stdout.strip() and not (user_folder / "runs").exists()


# ---- YAML, JSON, Python ----------------------------------------------------------------------------------------------


@pytest.fixture
def my_axes(user_folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The package `my_pkg` of the pages, importable: axes, a metric, a wording; the import path of the axes."""
    blocks = (ROOT / "docs" / "axes.md").read_text(encoding="utf-8").split("```python\n")[1:]
    code = [block.partition("```")[0] for block in blocks]
    (user_folder / "my_pkg").mkdir()
    (user_folder / "my_pkg" / "my_axes.py").write_text("\n".join(part for part in code if "testing" not in part))
    for page, module in (("tasks-and-metrics", "my_metrics"), ("your-own-task", "my_wordings")):
        block = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8").split("```python\n")[1].partition("```")[0]
        (user_folder / "my_pkg" / f"{module}.py").write_text(block)
    monkeypatch.syspath_prepend(str(user_folder))
    return "my_pkg.my_axes"


def test_the_options_and_the_metric_of_the_pages_keep_the_contract(my_axes: str) -> None:
    class Rows(AxisOptionContract):
        axis, option = "format", f"{my_axes}:ROWS"

    class Polite(AxisOptionContract):
        axis, option = f"{my_axes}:TONE", "polite"

    class Score(MetricContract):
        metric = "my_pkg.my_metrics:score"

    for contract in (Rows(), Polite(), Score()):
        laws = [name for name in dir(contract) if name.startswith("test_")]
        assert len(laws) >= 4
        for law in laws:
            getattr(contract, law)()


def test_the_task_of_the_architecture_page_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = Page(ROOT / "x", (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")).blocks("python")
    (tmp_path / "page_task.py").write_text(block)
    monkeypatch.syspath_prepend(str(tmp_path))
    task = get_task("page_task:TASK")
    sample = render_sample(task.load("train")[0], task, make_design())
    assert sample.completion.text == "room: bad."


def test_the_line_of_data_of_the_own_task_page_fits_its_task(user_folder: Path) -> None:
    (section,) = [yaml.safe_load(block)["task"] for block in own_task_page().blocks("yaml") if "multilabel" in block]
    example = task_from_yaml(section, user_folder).load("train")[0]
    assert example.answer == {"urgency": ("high",), "product": ("app", "router"), "stars": ("1",)}


@pytest.mark.parametrize(
    ("word", "answers"),
    [
        ("schema", [{"order": {"customer": "Ada", "items": [{"name": "lamp", "count": 2, "size": "large"}]}}]),
        (
            "fields",
            [
                {"relation": [{"head": "Ada Kern", "relation": "works for", "tail": "Linnet Press"}]},
                {"attack": [{"trigger": "raided", "attacker": "rebels", "year": 1912}]},
            ],
        ),
    ],
)
def test_the_records_of_the_own_task_page_are_read(word: str, answers: list[object], user_folder: Path) -> None:
    blocks = [yaml.safe_load(block)["task"] for block in own_task_page().blocks("yaml") if "kind: record" in block]
    (section,) = [block for block in blocks if word in block]
    task = task_from_yaml(section, user_folder)
    path = user_folder / section["data"]["path"]
    examples, _ = recognition.examples("auto", path.name, recognition.read_any(path), schema_of(task), {})
    assert [plain_answer(example.answer, task.single) for example in examples] == answers


@each_page
def test_every_yaml_block_is_valid(page: Page, user_folder: Path, my_axes: str) -> None:
    assert wrong([check_yaml(block, user_folder) for block in page.blocks("yaml")]) == []


@each_page
def test_every_key_of_the_yaml_exists(page: Page) -> None:
    if page.name == "docs/configuration.md":
        return  # made from the schema itself; it also lists keys of other tools, with ours that mean the same
    assert wrong([check_key(code) for code in keys_of(page)]) == []


@each_page
def test_json_and_python_parse(page: Page) -> None:
    assert wrong([check_json(block) for block in page.blocks("json")]) == []
    assert wrong([check_python(block) for block in page.blocks("python")]) == []


def test_a_broken_block_is_seen(user_folder: Path) -> None:
    assert "trails" in check_yaml("search: {trails: 3}", user_folder)
    assert check_yaml("- search", user_folder) == "not a mapping"
    assert "'nothing'" in check_key("search.nothing") and "'none'" in check_key("none.such: 3")
    assert check_key("deepspeed.zero_optimization.stage") == check_key("seeds: [0]") == ""
    assert check_json('{"text": }') and not check_json('{"text": 1}\n{"text": 2}\n')
    assert check_python("def f(:") and "has no Nothing" in check_python("from sde_ray.types import Nothing")
    assert check_python("from sde_ray.types import Line") == ""
    assert check_shell("make tets") and check_shell("pytest -q tests/nothing") and not check_shell("make demo  # x")


# ---- links, names, README --------------------------------------------------------------------------------------------


@each_page
def test_every_link_leads_somewhere(page: Page) -> None:
    assert wrong([check_link(target, page) for target in links(page)]) == []


@each_page
def test_every_named_file_test_and_module_exists(page: Page) -> None:
    assert wrong([check_name(code) for code in page.codes()]) == []


def test_a_broken_link_or_name_is_seen() -> None:
    page = Page(ROOT / "docs" / "axes.md", "[a](b.md) [c](../README.md#limits) [d](#axes) `[e](f.md)`")
    assert links(page) == ["b.md", "../README.md#limits", "#axes"]
    assert [bool(check_link(target, page)) for target in links(page)] == [True, False, False]
    assert check_link("../README.md#nothing", page) and not check_link("https://example.org/x", page)
    assert check_name("tests/laws/test_nothing.py") and check_name("sde_ray.nothing")
    assert check_name("laws/test_docs.py::test_nothing") and not check_name("laws/test_docs.py::wrong")
    assert not check_name("sde_ray.types") and not check_name("sde_ray/design") and not check_name("runs/quickstart")


def test_every_page_is_linked_from_readme() -> None:
    readme = Page(ROOT / "README.md", (ROOT / "README.md").read_text(encoding="utf-8"))
    linked = {target.partition("#")[0] for target in links(readme)}
    assert {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")} - linked == set()


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= MOST_LINES_OF_README


def test_readmes_example_is_what_the_package_renders() -> None:
    """Made again by `python tests/helpers/readme_example.py`."""
    shown = example()
    assert shown in (ROOT / "README.md").read_text(encoding="utf-8")
    assert shown.count("⟦") == shown.count("⟧") == 2 and shown.count("```text") == 2
    assert max(map(len, shown.split("\n"))) <= 47, "a phone shows about 42 characters of code"


def test_readme_lists_every_room() -> None:
    rooms = {path.parent.name for path in (ROOT / "sde_ray").glob("*/__init__.py")}
    tree = re.findall(r"^  (\w+)/ ", (ROOT / "README.md").read_text(encoding="utf-8"), re.M)
    assert set(tree) == rooms and len(tree) == len(rooms)


# ---- pyproject -------------------------------------------------------------------------------------------------------

IMPORTED_AS = {"PyYAML": "yaml"}


def test_each_dependency_names_files_that_import_it() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    table = text.partition("dependencies = [\n")[2].partition("\n]")[0]
    rows = re.findall(r'"([\w-]+)[^"]*",\s+# (.*)$', table, re.M)
    assert len(rows) == len(table.splitlines())
    for package, comment in rows:
        places = [ROOT / "sde_ray" / name for name in re.findall(r"[\w/]+(?:\.py|/)", comment)]
        assert places, package
        for place in places:
            files = [place] if place.suffix else sorted(place.rglob("*.py"))
            pattern = re.compile(rf"^\s*(?:import|from) {IMPORTED_AS.get(package, package)}\b", re.M)
            assert any(pattern.search(file.read_text(encoding="utf-8")) for file in files), f"{package}: {place}"
