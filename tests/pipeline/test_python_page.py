"""The cells of docs/python.md, run in their order on a small run of the embedded model, and what they show."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from helpers.small_run import train, write_sweep_file

PAGE = Path(__file__).parents[2] / "docs" / "python.md"
CELLS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)

pytestmark = [pytest.mark.slow, pytest.mark.cluster]


class Notebook:
    """Runs cells in one namespace; a cell's value is that of its last expression, as in a notebook."""

    def __init__(self) -> None:
        self.displayed: list[Any] = []
        self.names: dict[str, Any] = {"display": self.displayed.append, "__name__": "notebook"}

    def run(self, cell: str) -> Any:
        body = ast.parse(cell).body
        last = body.pop() if isinstance(body[-1], ast.Expr) else None
        exec(compile(ast.Module(body, []), "cell", "exec"), self.names)
        if last is None:
            return None
        assert isinstance(last, ast.Expr)
        return eval(compile(ast.Expression(last.value), "cell", "eval"), self.names)  # noqa: S307


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Notebook, dict[str, Any]]:
    """The notebook after all cells, and the value of each by its first line."""
    folder = tmp_path_factory.mktemp("notebook")
    sweep = folder / "sweeps" / "quickstart.yaml"
    write_sweep_file(sweep, "masa:d1", out_of_domain=["masa:d2"])
    notebook = Notebook()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        train(Path("sweeps/quickstart.yaml"))
        return notebook, {cell.partition("\n")[0]: notebook.run(cell) for cell in CELLS}


def test_every_cell_runs_and_shows_rows(shown: tuple[Notebook, dict[str, Any]]) -> None:
    _, values = shown
    assert len(values) == len(CELLS) >= 10
    frames = {line: value for line, value in values.items() if isinstance(value, pd.DataFrame | pd.Series)}
    assert len(frames) >= 7
    empty = [line for line, frame in frames.items() if frame.empty and "effects[" not in line]
    assert empty == []


def test_the_previews_have_their_loss_marked(shown: tuple[Notebook, dict[str, Any]]) -> None:
    notebook, _ = shown
    first, second = (one._repr_html_() for one in notebook.displayed)
    assert "Inst-last" in first and "Inst-first" in second and "<mark>" in first


def test_effects_are_a_frame_of_the_two_designs(shown: tuple[Notebook, dict[str, Any]]) -> None:
    _, values = shown
    effects = values["effects = run.effects()"]
    assert set(zip(effects["axis"], effects["option"], strict=True)) == {("instruction", "first"), ("format", "lines")}
    assert list(effects.columns)[:4] == ["axis", "option", "reference", "difference"]


def test_predictions_and_answers_have_a_row_each(shown: tuple[Notebook, dict[str, Any]]) -> None:
    notebook, values = shown
    assert len(notebook.names["predictions"]) == 2 * 2 * 5
    answers = values[
        'run.predict(["Great food, slow service.", "The soup was cold."])[["answer", "completion", "faults"]]'
    ]
    assert len(answers) == 2 and all(isinstance(answer, dict) for answer in answers["answer"])


def test_the_page_names_all_that_the_package_offers() -> None:
    import sde_ray

    text = PAGE.read_text(encoding="utf-8")
    missing = [name for name in sde_ray.__all__ if not re.search(rf"\b{name}\b", text) and name != "__version__"]
    assert missing == []
    methods = [name for name in vars(sde_ray.Run) if not name.startswith("_")]
    told = [name for name in methods if re.search(rf"\.{name}\b", text)]
    assert set(methods) - set(told) <= {"refresh", "results", "samples", "conclusions"}
