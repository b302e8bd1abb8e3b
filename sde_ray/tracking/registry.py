"""An adapter in MLflow's model registry, together with its design: found by name, loaded and asked in one line.

    register(client, run_id, strategy, folder / "adapter")  -> "quickstart/1"

The model is code (`served.py`) plus the adapter's folder; nothing is pickled. A version's tags say the design, axis by
axis, so that the registry alone tells how prompts must be written. The alias `validated` is on the latest.
"""

from __future__ import annotations

import re
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from sde_ray.analysis.strategy import Strategy, save
from sde_ray.design.designs import make_design
from sde_ray.models.predictor import ADAPTER_CARD, read_card
from sde_ray.safe_json import stream_hash

ALIAS = "validated"


def register(client: Any, run_id: str, strategy: Strategy, adapter: Path) -> str:
    """Register once: the same adapter again gives the version that is there.

    The design is the one that the adapter was trained in: a control's, where that has beaten the assembled one.
    """
    from mlflow.exceptions import MlflowException

    if (adapter / ADAPTER_CARD).is_file():
        strategy = replace(strategy, design=make_design(**read_card(adapter).design))
    name = model_name(strategy)
    digest = fingerprint(adapter)
    try:
        client.create_registered_model(name, tags={"sde.task": strategy.task, "sde.model": strategy.model})
    except MlflowException:
        known = client.search_model_versions(f"name = '{name}'")
        for version in known:
            if version.tags.get("sde.adapter") == digest:
                return f"{name}/{version.version}"
    artifacts = f"model-{digest}"
    with tempfile.TemporaryDirectory() as folder:
        write_model(Path(folder) / "model", strategy, adapter)
        client.log_artifacts(run_id, str(Path(folder) / "model"), artifacts)
    source = f"{client.get_run(run_id).info.artifact_uri.rstrip('/')}/{artifacts}"
    version = client.create_model_version(name, source, run_id, tags=tags_of(strategy, digest),
                                          description=strategy.verdict or "Not validated.")  # fmt: skip
    client.set_registered_model_alias(name, ALIAS, version.version)
    return f"{name}/{version.version}"


def model_name(strategy: Strategy) -> str:
    """The registered model's name; the registry takes no slash and no colon."""
    return re.sub(r"[^\w.-]+", "-", "-".join(part for part in (strategy.sweep, strategy.task) if part)).strip("-")


def tags_of(strategy: Strategy, digest: str) -> dict[str, str]:
    """What a version says of itself."""
    axes = {re.sub(r"[^\w\-./ ]", "_", f"sde.axis.{axis}"): option for axis, option in strategy.design.options}
    return {
        **axes,
        "sde.adapter": digest,
        "sde.design": strategy.design.slug,
        "sde.objective": strategy.objective,
        "sde.predicted": f"{strategy.predicted:.4f}",
        "sde.sweep": strategy.sweep,
    }


def fingerprint(adapter: Path) -> str:
    """A hash of the adapter's files."""
    files = sorted(path for path in adapter.rglob("*") if path.is_file())
    return stream_hash(path.name.encode() + path.read_bytes() for path in files)


def write_model(folder: Path, strategy: Strategy, adapter: Path) -> None:
    """A folder in MLflow's model format: code from a file, adapter and strategy as its artifacts."""
    import mlflow

    from sde_ray import __version__

    with tempfile.TemporaryDirectory() as inner:
        save(strategy, Path(inner) / "strategy.yaml")
        mlflow.pyfunc.save_model(
            str(folder),
            python_model=str(Path(__file__).with_name("pyfunc.py")),
            artifacts={"adapter": str(adapter), "strategy": str(Path(inner) / "strategy.yaml")},
            pip_requirements=[f"sde_ray=={__version__}"],
        )
