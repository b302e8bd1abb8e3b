"""Find out how to write fine-tuning samples, with evidence: sample-design sweeps on Ray Tune, DeepSpeed and MLflow.

    import sde_ray

    run = sde_ray.run("sweeps/quickstart.yaml")      or sde_ray.open_run("runs/quickstart")
    run.effects()                                    a pandas frame; docs/python.md shows the others
    run.predict(["Great food, slow service."])

Importing the package imports nothing else: a name is imported from its module when it is first used. torch, ray,
deepspeed and mlflow come only with what needs them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sde_ray.config.load import load_config
    from sde_ray.design.designs import make_design, parse_design
    from sde_ray.design.render import parse_completion, render_sample
    from sde_ray.errors import UserError
    from sde_ray.models.predictor import Predictor
    from sde_ray.pipeline.listener import PipelineListener
    from sde_ray.pipeline.open_run import Run, open_run, run
    from sde_ray.pipeline.preview import preview
    from sde_ray.plugins import trust_code
    from sde_ray.sweep.plan import plan
    from sde_ray.tasks import get_task

__version__ = "0.2.0"

__all__ = [
    "PipelineListener",
    "Predictor",
    "Run",
    "UserError",
    "__version__",
    "get_task",
    "load_config",
    "make_design",
    "open_run",
    "parse_completion",
    "parse_design",
    "plan",
    "preview",
    "render_sample",
    "run",
    "trust_code",
]

_MODULES = {
    "PipelineListener": "pipeline.listener",
    "Predictor": "models.predictor",
    "Run": "pipeline.open_run",
    "UserError": "errors",
    "get_task": "tasks",
    "load_config": "config.load",
    "make_design": "design.designs",
    "open_run": "pipeline.open_run",
    "parse_completion": "design.render",
    "parse_design": "design.designs",
    "plan": "sweep.plan",
    "preview": "pipeline.preview",
    "render_sample": "design.render",
    "run": "pipeline.open_run",
    "trust_code": "plugins",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
