"""An adapter in MLflow's model registry, together with its design: loaded by name and used in one line.

    register_adapter(client, run_id, strategy, folder / "adapter")  -> "quickstart/1"

The model is code (`pyfunc.py`) plus the adapter's folder; nothing is pickled. It brings this package and what its
card names of the user's own modules, as its `code_paths`. Of an index it asks for the libraries that these import, and
for nothing else: under this package's name an index may have anybody's code. A version's tags say the design, axis by
axis, so that the registry alone tells how prompts must be written. The alias `validated` is on the latest.
"""

from __future__ import annotations

import re
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import sde_ray
from sde_ray.analysis.strategy import Strategy, save
from sde_ray.design.designs import make_design
from sde_ray.models.predictor import ADAPTER_CARD, names_on_card, read_card
from sde_ray.plugins import code_of, own_sources
from sde_ray.safe_json import stream_hash
from sde_ray.tracking.run_data import mlflow_name

ALIAS = "validated"
EXAMPLE = ["great soup, but the waiter was rude"]
LIBRARIES = ("filelock", "mlflow", "numpy", "peft", "pydantic", "PyYAML", "safetensors", "torch", "transformers")
"""What `models/predictor.py` and `tracking/pyfunc.py` import."""


def register_adapter(client: Any, run_id: str, strategy: Strategy, adapter: Path) -> str:
    """Register an adapter as a model version, once: the same adapter again gives the version that is there.

    Args:
        client: an `MlflowClient`.
        run_id: the sweep's run; the model is an artifact of it.
        strategy: names the model and describes the version. The design is the one that the adapter was trained in: a
            control's, where that has beaten the assembled one.
        adapter: folder of the adapter's files.

    Returns:
        "name/version", as in the URI models:/name/version.
    """
    from mlflow.exceptions import MlflowException

    if (adapter / ADAPTER_CARD).is_file():
        strategy = replace(strategy, design=make_design(**read_card(adapter).design))
    name = model_name(strategy)
    digest = adapter_hash(adapter)
    try:
        client.create_registered_model(name, tags={"sde.task": strategy.task, "sde.model": strategy.model})
    except MlflowException:
        for version in client.search_model_versions(f"name = '{name}'"):
            if version.tags.get("sde.adapter") == digest:
                return f"{name}/{version.version}"
    tags = version_tags(strategy, digest)
    model = log_model(client, run_id, name, strategy, adapter, tags)
    version = client.create_model_version(name, model.artifact_location, run_id, tags=tags, model_id=model.model_id,
                                          description=strategy.verdict or "Not validated.")  # fmt: skip
    client.set_registered_model_alias(name, ALIAS, version.version)
    return f"{name}/{version.version}"


def log_model(client: Any, run_id: str, name: str, strategy: Strategy, adapter: Path, tags: Mapping[str, str]) -> Any:
    """Log an adapter as a model of the sweep's run, with its design, signature and an example; returns MLflow's model.

    MLflow then shows it among the run's models. One that cannot be stored whole is marked FAILED.
    """
    from mlflow.entities import LoggedModelOutput

    experiment = client.get_run(run_id).info.experiment_id
    params = dict(strategy.design.options)
    model = client.create_logged_model(experiment, name, run_id, tags=dict(tags), params=params, model_type="adapter")
    try:
        with tempfile.TemporaryDirectory() as folder:
            save_model(Path(folder) / "model", strategy, adapter)
            client.log_model_artifacts(model.model_id, str(Path(folder) / "model"))
    except BaseException:
        client.finalize_logged_model(model.model_id, "FAILED")
        raise
    client.finalize_logged_model(model.model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    return model


def model_name(strategy: Strategy) -> str:
    """The registered model's name; the registry takes no slash and no colon."""
    return re.sub(r"[^\w.-]+", "-", "-".join(part for part in (strategy.sweep, strategy.task) if part)).strip("-")


def version_tags(strategy: Strategy, digest: str) -> dict[str, str]:
    """The tags of a model version: its design axis by axis, and where it comes from."""
    axes = {mlflow_name(f"sde.axis.{axis}"): option for axis, option in strategy.design.options}
    return {
        **axes,
        "sde.adapter": digest,
        "sde.design": strategy.design.slug,
        "sde.objective": strategy.objective,
        "sde.predicted": f"{strategy.predicted:.4f}",
        "sde.sweep": strategy.sweep,
    }


def adapter_hash(adapter: Path) -> str:
    """A hash of the adapter's files."""
    files = sorted(path for path in adapter.rglob("*") if path.is_file())
    return stream_hash(path.name.encode() + path.read_bytes() for path in files)


def save_model(folder: Path, strategy: Strategy, adapter: Path) -> None:
    """A folder in MLflow's model format: code from a file, adapter and strategy as its artifacts."""
    import mlflow

    with tempfile.TemporaryDirectory() as inner, warnings.catch_warnings():
        # MLflow warns of type hints in code of its own when it first imports this.
        warnings.filterwarnings("ignore", message=".*Any type hint is inferred as AnyType")
        save(strategy, Path(inner) / "strategy.yaml")
        mlflow.pyfunc.save_model(
            str(folder),
            python_model=str(Path(__file__).with_name("pyfunc.py")),
            artifacts={"adapter": str(adapter), "strategy": str(Path(inner) / "strategy.yaml")},
            input_example=EXAMPLE,
            code_paths=code_paths(adapter),
            pip_requirements=requirements(),
        )


def code_paths(adapter: Path) -> list[str]:
    """The code that a model brings with it: this package, and what the adapter's card names of the user's own."""
    modules = code_of(" ".join(names_on_card(adapter))) if (adapter / ADAPTER_CARD).is_file() else []
    return [str(Path(sde_ray.__file__).parent), *(str(path) for path in own_sources(modules).values())]


def requirements() -> list[str]:
    """The libraries that answering texts imports, in the versions that are installed here, without local builds."""
    return [f"{name}=={version(name).partition('+')[0]}" for name in LIBRARIES]
