"""The code of a registered model: MLflow runs this file when it loads one ("models from code", no pickle).

    mlflow.pyfunc.load_model("models:/quickstart/1").predict(["Great food, slow service."])
      -> [{"answer": {"food": ["positive"]}, "completion": "food: positive", "faults": []}]

The adapter's folder holds its design (`sde.json`), so texts are written, and answers read, as in training.
"""

from __future__ import annotations

from typing import Any

import mlflow

from sde_ray.models.predictor import Predictor


class Served(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    """MLflow's face of `Predictor`."""

    def load_context(self, context: Any) -> None:
        self.predictor = Predictor.load(context.artifacts["adapter"])

    def predict(self, context: Any, model_input: list[str]) -> list[dict[str, Any]]:
        return [
            {
                "answer": {slot: list(values) for slot, values in parsed.answer.items()},
                "completion": completion,
                "faults": [fault.kind for fault in parsed.faults],
            }
            for parsed, completion in self.predictor.predict(model_input)
        ]


mlflow.models.set_model(Served())
