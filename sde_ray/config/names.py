"""What a sweep's values name beyond the package's own: code that is imported, files and addresses that are read.

    trust_named(values)               the user's own YAML: all of it may be followed
    refuse_untrusted(values, title)   the sweep.yaml of a folder of results: UserError unless the user has named it, too
    is_own_sweep(path)                whether a sweep of this user on this machine has written that very file

A sweep that runs notes the hash of its sweep.yaml in the user's cache (`SDE_OWN_SWEEPS` names another folder), so that
`sde-ray effects runs/mine` works without more, and a folder that came from elsewhere does not.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from sde_ray.errors import UserError
from sde_ray.plugins import code_of, is_trusted, trust
from sde_ray.safe_json import stream_hash
from sde_ray.safe_text import mask
from sde_ray.safe_yaml import read_yaml
from sde_ray.storage.layout import LEDGER, RESOLVED, SWEEP
from sde_ray.tasks import references
from sde_ray.tasks.custom import wordings_in
from sde_ray.tasks.trial_task import is_trusted_definition, trust_definition

OWN = "SDE_OWN_SWEEPS"


def trust_named(values: Mapping[str, Any]) -> None:
    """Follow all that these values name; they are the user's own."""
    trust(*_modules(values), *(reference for name in _task_names(values) for reference in references(name)))
    for definition in _definitions(values):
        trust_definition(definition)
    trust(*_files(values))
    uri = _tracking_uri(values)
    trust(*([uri] if uri else []), *_teachers(values))


def refuse_untrusted(values: Mapping[str, Any], title: str) -> None:
    """Refuse values that name code or data that the user has not named.

    Raises:
        UserError: with all of it, and what to do.
    """
    named = [*_modules(values), *(reference for name in _task_names(values) for reference in references(name))]
    named += _files(values)
    unknown = [reference for reference in dict.fromkeys(named) if not is_trusted(reference)]
    code = [reference for reference in unknown if reference in named_code(values)]
    faults = [f'the module "{module}"' for module in code]
    faults += [f'the task or the data at "{mask(place)}"' for place in unknown if place not in code]
    faults += [
        f'the data of the task "{definition.get("name")}"'
        for definition in _definitions(values)
        if not is_trusted_definition(definition)
    ]
    faults += [f'the teacher "{mask(teacher)}"' for teacher in _teachers(values) if not is_trusted(teacher)]
    faults += ["code of the models' own (trust_remote_code: true)"] if values.get("trust_remote_code") is True else []
    if not faults:
        return
    flags = " ".join(f"--trust-code {module}" for module in code) if len(code) == len(faults) else ""
    raise UserError(
        f"{title} lies in a folder of results, which may be anybody's, and names what you have not named yourself: "
        f"{', '.join(faults)}. If it is yours, give the sweep's own YAML file in place of the folder"
        + (f", or add {flags}." if flags else "; or read this file, and give it itself.")
    )


def drop_environment(values: dict[str, Any]) -> None:
    """Take out of a foreign file where and how it ran, and whom it told: all of these can name code or addresses.

    Results do not depend on it. Whoever trains more of such a sweep sets them anew, with `--set`.
    """
    values.pop("notify", None)
    resources = values.get("resources")
    for name in ("address", "env_vars"):
        if isinstance(resources, dict):
            resources.pop(name, None)


def drop_notify(values: dict[str, Any], path: Path) -> None:
    """Take `notify` out of a file in a folder of results: it names a program to run, and an address to send to.

    A run writes none there, so it is somebody else's, also where the file itself was named. `--set` gives another.
    """
    in_results = any((path.parent / name).is_file() for name in (LEDGER, RESOLVED))
    if in_results and values.pop("notify", None) is not None:
        warnings.warn(
            f'"{path}" lies in a folder of results: its `notify` is left out, so nothing is run and nobody is told. If '
            "you want it: --set notify.webhook=..., or a YAML file of your own, elsewhere.",
            stacklevel=3,
        )


def check_tracking_uri_is_named(uri: str) -> None:
    """Refuse an MLflow server that only a folder of results names: it would be sent this shell's credentials.

    Raises:
        UserError: where neither the user's YAML nor the shell names it.
    """
    if uri.startswith("http") and uri != os.environ.get("MLFLOW_TRACKING_URI") and not is_trusted(uri):
        raise UserError(
            f"The MLflow server {mask(uri)} is named by a folder of results only, and would get this shell's "
            "credentials. If it is yours: export MLFLOW_TRACKING_URI=..., or give the sweep's own YAML file."
        )


# ---- the sweeps of this user on this machine -------------------------------------------------------------------------


def remember_own_sweep(text: str) -> None:
    """Note that a sweep of this user has written this sweep.yaml. Where there is no home it is not noted."""
    folder = _own_sweeps()
    with suppress(OSError):
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            (folder / stream_hash([text])).touch()


def is_own_sweep(path: Path) -> bool:
    """Whether a sweep of this user on this machine has written this very file."""
    folder = _own_sweeps()
    try:
        return folder is not None and (folder / stream_hash([path.read_bytes()])).is_file()
    except OSError:
        return False


def trust_own_run_of(folder: Path) -> None:
    """Follow what the sweep names that has trained the adapter in this folder, where it is this user's own."""
    for above in folder.resolve().parents[:3]:
        path = above / SWEEP
        if path.is_file() and is_own_sweep(path):
            trust_named(read_yaml(path))


def _own_sweeps() -> Path | None:
    if os.environ.get(OWN):
        return Path(os.environ[OWN])
    cache = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    return cache / "sde_ray" / "own_sweeps" if cache.is_absolute() else None


# ---- what values name ------------------------------------------------------------------------------------------------


def _modules(values: Mapping[str, Any]) -> list[str]:
    """Modules of axes, options, designs and metrics, wherever the values may name one."""
    sections = [values.get(name) for name in ("axes", "designs", "objective")]
    sections += [_inner(values, "search", "reference_design"), _inner(values, "validation", "controls")]
    sections += [[entry.get("metrics"), entry.get("objective"), wordings_in(entry)] for entry in _definitions(values)]
    return list(dict.fromkeys(module for text in _texts(sections) for module in code_of(text)))


def named_code(values: Mapping[str, Any]) -> list[str]:
    """The modules that the values name, those of tasks too."""
    tasks = [reference for name in _task_names(values) for reference in references(name) if reference in code_of(name)]
    return list(dict.fromkeys([*_modules(values), *tasks]))


def _task_names(values: Mapping[str, Any]) -> list[str]:
    domains = [entry.get("domains") for entry in _definitions(values)]
    curation = values.get("curation")
    sections = list(curation.values()) if isinstance(curation, Mapping) else []
    read = [section.get("task") for section in sections if isinstance(section, Mapping)]
    names = [values.get("task"), values.get("out_of_domain"), domains, read]
    return list(_texts([entry for entry in names if not isinstance(entry, Mapping)], mappings=False))


def _files(values: Mapping[str, Any]) -> list[str]:
    """Files and addresses that the settings of data and training axes name, and the general set."""
    curation = values.get("curation")
    section = curation.get("memory_level") if isinstance(curation, Mapping) else None
    named = [section.get(name) for name in ("levels", "aliases")] if isinstance(section, Mapping) else []
    named.append(_inner(values, "general", "path"))
    return [one for one in named if isinstance(one, str) and one]


def _teachers(values: Mapping[str, Any]) -> list[str]:
    """Models and endpoints that write examples: an endpoint gets the data, and a key of this shell."""
    teacher = _inner(_mapping(values.get("curation")), "augment", "teacher")
    return [teacher] if isinstance(teacher, str) and teacher != "same" else []


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _definitions(values: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    task = values.get("task")
    return [entry for entry in (task if isinstance(task, list | tuple) else [task]) if isinstance(entry, Mapping)]


def _tracking_uri(values: Mapping[str, Any]) -> str:
    uri = _inner(values, "mlflow", "tracking_uri")
    return uri if isinstance(uri, str) else ""


def _inner(values: Mapping[str, Any], section: str, name: str) -> Any:
    inner = values.get(section)
    return inner.get(name) if isinstance(inner, Mapping) else None


def _texts(value: Any, mappings: bool = True) -> Iterator[str]:
    """Every text in plain values, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping) and mappings:
        for key, inner in value.items():
            yield from _texts([key, inner])
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner, mappings)
