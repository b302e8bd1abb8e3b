"""The code of a registered model: MLflow runs this file when it loads one ("models from code", no pickle).

    mlflow.pyfunc.load_model("models:/quickstart/1").predict(["Great food, slow service."])
      -> [{"answer": {"food": ["positive"]}, "completion": "food: positive", "faults": []}]

The adapter's folder holds its design (`sde.json`), so samples are rendered, and completions parsed, as in training.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
from pydantic import BaseModel

from sde_ray.models.answer_rows import answer_rows
from sde_ray.models.predictor import Predictor, names_on_card
from sde_ray.plugins import code_of, trust


class Answer(BaseModel):
    """What a text is answered with: values by slot, the completion that they were read from, faults by their kind.

    `error`: why a text cannot be answered, where it cannot. The types are the model's signature. Answers are given as
    plain mappings.
    """

    answer: dict[str, list[str]]
    completion: str
    faults: list[str]
    error: str | None = None


EMPTY = {"answer": {}, "completion": "", "faults": []}  # of a text that cannot be answered


class SampleDesignModel(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    """MLflow pyfunc model around `Predictor`: texts in; answer, completion and faults out."""

    def load_context(self, context: Any) -> None:
        adapter = context.artifacts["adapter"]
        trust(*code_of(" ".join(names_on_card(Path(adapter)))))  # as this file: of whoever has registered the model
        self.predictor = Predictor.load(adapter)

    def predict(self, context: Any, model_input: list[str]) -> list[Answer]:
        rows = ({**EMPTY, **row} for row in answer_rows(self.predictor, model_input))
        parts = ({name: row[name] for name in Answer.model_fields if name in row} for row in rows)
        return [Answer(**part).model_dump(exclude_unset=True) for part in parts]  # type: ignore[misc]


mlflow.models.set_model(SampleDesignModel())
