"""Our own sweep of the same trials: what `sde-ray run` does up to the last trial, without MLflow, analysis and report.

python -m sde_ray.bench.engine.own_sweep sweep.yaml results.json [KEY=VALUE ...]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main(sweep: str, results_path: str, *sets: str) -> None:
    """Run a sweep; write its trials' results, and when the first of them began (seconds since the epoch)."""
    from sde_ray.config.load import load_config
    from sde_ray.storage.layout import CONFIG, TRIALS
    from sde_ray.sweep.run import run_sweep

    outcome = run_sweep(load_config(sweep, sets))
    folders = [outcome.folder / TRIALS / result.key for result in outcome.results]
    results = [
        {
            "design": dict(result.config["design"]),
            "status": result.status,
            "error": result.error,
            "scores": dict(result.scores.get("dev", {})),
            "seconds": dict(result.seconds),
            "tokens": dict(result.tokens),
            "losses": list(result.losses),
        }
        for result in outcome.results
    ]
    first = min((folder / CONFIG).stat().st_mtime for folder in folders)
    Path(results_path).write_text(json.dumps({"first_trial": first, "trials": results}), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
