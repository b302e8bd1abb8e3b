"""The house: who may import whom, what the core may not import, and how long a function or a file may be.

`FLOORS` is the table of rooms. A module imports from floors below its own and from its own, never upwards, also not
inside a function; and no two modules import each other, by whatever way round.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "sde_ray"

FLOORS: list[set[str]] = [
    {"errors", "types", "extension", "plain", "yaml_file"},
    {"address"},
    {"adapter", "keyed", "endpoint", "transfer"},
    {"axes", "data", "metrics"},
    {"tasks", "design", "render", "tokens"},
    {"search", "sections", "rescore", "ledger", "lease", "store", "items", "mixed", "surface", "intervals", "models"},
    {"checkpoint", "race"},
    {"runner"},
    {"published", "rationales"},
    {"claims", "config", "effects", "faults", "search.tune"},
    {"budget", "consistency", "known", "leaderboard", "plan", "pooled", "progress", "strategy", "verdict"},
    {"across", "agenda", "asked", "pareto", "samples", "study", "report"},
    # ---- below: heavy libraries at import ----
    {"model", "batches", "dropout", "cache", "zero", "generate", "train", "engine_state"},
    {"worker", "group", "predict", "encodable"},
    {"trial", "register", "served", "logged"},
    {"track"},
    {"warm", "recorder", "session", "outbox", "preflight", "deaths"},
    {"sweep", "final", "validate", "doctor", "bench", "resident"},
    {"step", "analysis", "robustness"},
    {"flow", "kept", "packing"},
    {"sync", "submit"},
    {"cli"},
    {"__main__", "__init__"},
]
HEAVY = {"torch", "ray", "mlflow", "deepspeed", "transformers", "peft", "datasets", "optuna"}
CORE = [
    "asked", "axes", "checkpoint", "budget", "config", "data", "design", "doctor", "effects", "errors", "extension",
    "flow", "items", "known", "ledger", "lease", "metrics", "plan", "predict", "progress", "race", "render", "report",
    "rescore", "runner", "samples", "search", "sections", "strategy", "surface", "tasks", "tokens", "types", "cli",
]  # fmt: skip
CORE += [
    "keyed", "endpoint", "rationales", "published", "analysis.context", "analysis.tuned", "analysis.correlate",
    "analysis.figure", "analysis.conclude", "robustness.condition", "robustness.curve", "robustness.figure",
    "adapter", "address", "transfer", "store", "kept", "outbox", "packing", "plain", "preflight", "resident", "submit",
    "sync", "track", "cli.app",
]  # fmt: skip
LONGEST_FUNCTION, LONGEST_FILE = 60, 400

FILES = sorted(PACKAGE.rglob("*.py"))
NAMES = {file: ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts) for file in FILES}
MODULES = {name.removesuffix(".__init__"): file for file, name in NAMES.items()}
TREES = {file: ast.parse(file.read_text(encoding="utf-8")) for file in FILES}


def room(module: str) -> str:
    """`sde_ray.tasks.masa` -> `tasks`, unless the table has a room for the module itself; the package is `__init__`."""
    _, _, inner = module.partition(".")
    return inner if any(inner in rooms for rooms in FLOORS) else (inner.partition(".")[0] or "__init__")


def floor(module: str) -> int:
    return next((level for level, rooms in enumerate(FLOORS) if room(module) in rooms), -1)


def imports(file: Path) -> set[str]:
    """The modules of this package that a file imports at run time, also inside functions."""
    found: set[str] = set()
    for node in runtime_nodes(TREES[file]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in MODULES}
        elif isinstance(node, ast.ImportFrom) and node.module in MODULES:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else node.module for name in names}
    return found - {"sde_ray"}  # `from sde_ray import __version__`


def runtime_nodes(tree: ast.AST) -> list[ast.AST]:
    """All nodes apart from those under `if TYPE_CHECKING:`, which never run."""
    found, waiting = [], [tree]
    while waiting:
        node = waiting.pop()
        found.append(node)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            waiting += node.orelse
        else:
            waiting += ast.iter_child_nodes(node)
    return found


def test_every_module_has_a_room() -> None:
    assert {room(module) for module in MODULES} - set().union(*FLOORS) == set()


def test_imports_point_downwards() -> None:
    upwards = [
        f"{module} -> {other}"
        for module, file in MODULES.items()
        for other in imports(file)
        if floor(other) > floor(module)
    ]
    assert upwards == []


def test_no_two_modules_import_each_other() -> None:
    graph = {module: {other for other in imports(file) if other != module} for module, file in MODULES.items()}
    while leaves := {module for module, others in graph.items() if not others}:
        graph = {module: others - leaves for module, others in graph.items() if module not in leaves}
    assert sorted(graph) == []


def test_a_cycle_and_an_upward_import_would_be_seen() -> None:
    """The walkers above see imports in functions, and skip those for type checkers only."""
    tree = ast.parse("if TYPE_CHECKING:\n    import a\ndef f():\n    from b import c\n")
    assert [node.module for node in runtime_nodes(tree) if isinstance(node, ast.ImportFrom)] == ["b"]
    assert not [node for node in runtime_nodes(tree) if isinstance(node, ast.Import)]
    assert floor("sde_ray.types") < floor("sde_ray.tasks.masa") < floor("sde_ray.cli.app")


def test_the_core_imports_nothing_heavy() -> None:
    present = [name for name in CORE if f"sde_ray.{name}" in MODULES]
    lines = ["import sys", *(f"import sde_ray.{name}" for name in present)]
    lines.append(f"print(sorted({HEAVY!r} & set(sys.modules)))")
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_files_and_functions_stay_small(file: Path) -> None:
    assert len(file.read_text(encoding="utf-8").splitlines()) <= LONGEST_FILE
    functions = [node for node in ast.walk(TREES[file]) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert [f.name for f in functions if (f.end_lineno or 0) - f.lineno + 1 > LONGEST_FUNCTION] == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_every_file_says_what_it_is(file: Path) -> None:
    assert ast.get_docstring(TREES[file])
    assert file.stem not in {"utils", "helpers", "common", "misc"}
