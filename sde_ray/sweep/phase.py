"""Phase of a run, noted by its driver in `phase.json`: sweep, validation, finished.

    write_phase(run_dir, "sweep", planned=40)      at the start of each phase
    read_phase(run_dir)                            Phase("sweep", 40.0, since=1764000060.0); None: it never began

A killed driver leaves the phase that it was in. Whether it lives is said by its lease (`storage/lease.py`), and between
two phases, when it has none, by its process.
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from pydantic import TypeAdapter

from sde_ray.errors import UserError
from sde_ray.safe_json import read_json
from sde_ray.storage.files import write_atomic
from sde_ray.storage.process import is_same, this_process
from sde_ray.storage.run_directory import RunDirectory

PhaseName = Literal["sweep", "validation", "finished"]


@dataclass(frozen=True)
class Phase:
    """How far a run has come.

    `planned`: trials of the search, or its budget in full trainings. `validation`: the keys of the trials of the final
    comparison, as far as it has begun. `since`: when the phase began, in Unix seconds. `process`: the driver's.
    """

    phase: PhaseName
    planned: float
    validation: tuple[str, ...] = ()
    since: float = 0.0
    process: Mapping[str, Any] = field(default_factory=dict)


_PHASE = TypeAdapter(Phase)


def write_phase(
    run_dir: RunDirectory, name: PhaseName, planned: float | None = None, validation: Collection[str] = ()
) -> None:
    """Note that a phase begins. A folder that takes no file is told once: the run itself says what it lacks.

    Args:
        run_dir: the run's.
        name: the phase.
        planned: trials of the search; the earlier note's where None.
        validation: keys of the trials that the final comparison adds; those of earlier contests stay.
    """
    before = read_phase(run_dir)
    planned = before.planned if planned is None and before else planned or 0.0
    kept = before.validation if before and name != "sweep" else ()
    phase = Phase(name, planned, tuple(dict.fromkeys([*kept, *validation])), time.time(), this_process())
    try:
        _save(run_dir, phase)
    except OSError as error:
        warnings.warn(f'Cannot write "{run_dir.phase}": {error.strerror}. `sde-ray status` knows less.', stacklevel=2)


def leave_phase(run_dir: RunDirectory) -> None:
    """Note that this process, which may live on, as a notebook does, runs the run no more."""
    noted = read_phase(run_dir)
    if noted is not None and noted.process and is_same(noted.process, this_process()):
        with suppress(OSError, UserError):  # whatever ended the run is what is told
            _save(run_dir, replace(noted, process={}))


def read_phase(run_dir: RunDirectory) -> Phase | None:
    """What the driver has noted last; None where there is no such note."""
    try:
        return _PHASE.validate_python(read_json(run_dir.phase.read_bytes()))
    except (OSError, ValueError):
        return None


def _save(run_dir: RunDirectory, phase: Phase) -> None:
    write_atomic(run_dir.phase, json.dumps(asdict(phase)))
    run_dir.folder.upload(run_dir.phase)
