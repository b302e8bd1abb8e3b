"""The house: who may import whom, what a light room may not import, and how long a function or a file may be.

`ORDER` is the table of rooms, leaves first. An import goes to a line above its own, or stays in its room, also inside a
function; and no two modules import each other, by whatever way round.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PACKAGE = TESTS.parent / "sde_ray"

ORDER = """
safe_text
errors types safe_json
safe_yaml plugins
data search storage
design metrics
tasks
config evaluation
analysis models
tracking training
curation
sweep
pipeline
serving
bench export
cli testing
__main__ __init__
"""
LINES: list[list[str]] = [line.split() for line in ORDER.strip().splitlines()]
LOOSE = 7  # modules at the top level, at most

HEAVY = {"torch", "ray", "mlflow", "deepspeed", "transformers", "peft", "datasets", "optuna", "botorch"}
# Heavy libraries are imported at module level here only; every other module of the package stays light.
MAY_BE_HEAVY = (
    *("models", "training", "sweep", "tracking.pyfunc", "bench.tiny_model"),
    *("bench.engine.packed", "bench.engine.roofline"),
)
LONGEST_FUNCTION, LONGEST_FILE = 60, 400

FILES = sorted(PACKAGE.rglob("*.py"))
NAMES = {file: ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts) for file in FILES}
MODULES = {name.removesuffix(".__init__"): file for file, name in NAMES.items()}
TREES = {file: ast.parse(file.read_text(encoding="utf-8")) for file in FILES}


def room(module: str) -> str:
    """`sde_ray.tasks.masa` -> `tasks`; the package itself is `__init__`."""
    return module.partition(".")[2].partition(".")[0] or "__init__"


def line(module: str) -> int:
    return next((number for number, rooms in enumerate(LINES) if room(module) in rooms), -1)


def imports(file: Path) -> set[str]:
    """The modules of this package that a file imports, also inside functions and for type checkers only."""
    modules: set[str] = set()
    for node in ast.walk(TREES[file]):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names if alias.name in MODULES}
        elif isinstance(node, ast.ImportFrom) and node.module in MODULES:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            modules |= {name if name in MODULES else node.module for name in names}
    return modules - {"sde_ray"}  # `from sde_ray import __version__`


def test_every_module_has_a_room() -> None:
    assert {room(module) for module in MODULES} - set().union(*LINES) == set()
    loose = {file.stem for file in PACKAGE.glob("*.py") if not file.stem.startswith("__")}
    assert len(loose) <= LOOSE, sorted(loose)


def test_every_test_folder_has_a_room() -> None:
    """Tests mirror the rooms; what tests several rooms at once, or serves tests, has a folder of its own."""
    folders = {path.parent.name for path in TESTS.glob("*/*.py")}
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert folders - rooms == {"laws", "cluster", "realdata", "helpers", "fuzz"}
    untested = {"curation", "testing"}  # contract suites run where their implementations are tested
    assert rooms - folders <= untested, sorted(rooms - folders)


def test_nothing_imports_the_contract_suites() -> None:
    users = [module for module, file in MODULES.items() if any(room(other) == "testing" for other in imports(file))]
    assert {room(module) for module in users} <= {"testing"}


def test_an_import_goes_to_a_line_above_its_own_or_stays_in_its_room() -> None:
    wrong = [
        f"{module} -> {other}"
        for module, file in MODULES.items()
        for other in imports(file)
        if room(other) != room(module) and line(other) >= line(module)
    ]
    assert sorted(wrong) == []


def test_no_two_modules_import_each_other() -> None:
    graph = {module: {other for other in imports(file) if other != module} for module, file in MODULES.items()}
    while leaves := {module for module, others in graph.items() if not others}:
        graph = {module: others - leaves for module, others in graph.items() if module not in leaves}
    assert sorted(graph) == []


def test_light_modules_import_nothing_heavy() -> None:
    light = [name for name in MODULES if not name.removeprefix("sde_ray.").startswith(MAY_BE_HEAVY)]
    assert len(light) > 150
    lines = ["import sys", *(f"import {name}" for name in light if not name.endswith("__main__"))]
    lines.append(f"print(sorted({HEAVY!r} & set(sys.modules)))")
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_files_and_functions_stay_small(file: Path) -> None:
    assert len(file.read_text(encoding="utf-8").splitlines()) <= LONGEST_FILE
    functions = [node for node in ast.walk(TREES[file]) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert [f.name for f in functions if (f.end_lineno or 0) - f.lineno + 1 > LONGEST_FUNCTION] == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_a_room_that_lists_its_files_lists_all_of_them(file: Path) -> None:
    """A page that names one of its modules as `name.py` names every one, and every room below it."""
    page = ast.get_docstring(TREES[file]) or ""
    inside = {path.name for path in file.parent.glob("*.py")} - {file.name}
    if file.name != "__init__.py" or file.parent == PACKAGE or not any(name in page for name in inside):
        return
    rooms = {f"{path.parent.name}/" for path in file.parent.glob("*/__init__.py")}
    assert {name for name in inside | rooms if name not in page} == set()


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_every_file_says_what_it_is(file: Path) -> None:
    assert ast.get_docstring(TREES[file])
    assert file.stem not in {"utils", "helpers", "common", "misc"}


def test_no_two_files_of_tests_have_one_name() -> None:
    """Else pytest takes one for the other, and collects neither."""
    names = Counter(path.name for path in (PACKAGE.parent / "tests").rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []
