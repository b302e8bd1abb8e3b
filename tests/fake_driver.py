"""A driver without a model, as a process: `python -m fake_driver run SWEEP.yaml [--address auto]`, like `sde-ray run`.

`FAKE_CALLS` names the file of begun trials, `FAKE_SECONDS` how long a rung takes.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from fake_runner import Fakes

from sde_ray import flow
from sde_ray.config import load_config
from sde_ray.sweep import run_sweep


def main(arguments: list[str]) -> int:
    _, sweep, *options = arguments
    sets = [f"resources.address={options[1]}"] if options[:1] == ["--address"] else []
    config = load_config(sweep, sets)
    fakes = Fakes(Path(os.environ["FAKE_CALLS"]), seconds=float(os.environ.get("FAKE_SECONDS", "0")))
    try:
        with flow.tracked(config) as tracker:
            outcome = run_sweep(config, fakes, tracker)
            if outcome.interrupted:
                raise flow.Interrupted(outcome.message)
    except flow.Interrupted as stopped:
        print(stopped)
        return 130
    print(f"complete: {len(outcome.results)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
