"""The MLflow tracking URI of a sweep: which it is, whether MLflow takes it, and the command that shows it."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from sde_ray.config.names import check_tracking_uri_is_named
from sde_ray.config.schema import SweepConfig
from sde_ray.errors import UserError
from sde_ray.safe_text import is_masked, mask
from sde_ray.storage.uri import local_path


def resolve_tracking_uri(config: SweepConfig) -> str:
    """The tracking URI of a sweep: as set in the YAML or in MLFLOW_TRACKING_URI, else sqlite beside the sweeps."""
    if config.mlflow.tracking_uri:
        check_tracking_uri_is_named(config.mlflow.tracking_uri)
    set_to = config.mlflow.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
    return set_to or f"sqlite:///{(local_path(config.storage_path) / 'mlflow.db').absolute()}"


def check_tracking_uri(tracking_uri: str, nodes: int = 1) -> None:
    """Refuse a tracking URI that cannot work.

    Args:
        tracking_uri: as MLflow takes it.
        nodes: how many machines the sweep is on.

    Raises:
        UserError: when MLflow keeps no runs in such a store, or when it is a file and the sweep is on several nodes.
    """
    shown = mask(tracking_uri)
    if is_masked(tracking_uri):
        raise UserError(
            f"mlflow.tracking_uri {shown} was written by a run, which leaves passwords out. Write the password in the "
            "place of ***, or set MLFLOW_TRACKING_URI or MLFLOW_TRACKING_PASSWORD in the shell."
        )
    if tracking_uri.startswith("sqlite:") and nodes > 1:
        raise UserError(
            f"mlflow.tracking_uri {shown} is a file on one machine, but the sweep is on {nodes} nodes. Start a server "
            "(mlflow server --backend-store-uri ...) and set mlflow.tracking_uri: http://HOST:5000."
        )
    if not re.match(r"(sqlite|https?|postgresql|mysql|mssql|databricks)(\+\w+)?:|databricks$", tracking_uri):
        raise UserError(
            f'mlflow.tracking_uri "{shown}" is no store that MLflow keeps runs in. Give sqlite:////abs/path/mlflow.db '
            "(folders of files are no longer supported) or http://HOST:5000."
        )


def ui_command(tracking_uri: str, port: int = 5000, host: str = "127.0.0.1") -> list[str]:
    """The command that shows a store in the browser.

    A URI with a password goes by `MLFLOW_BACKEND_STORE_URI` instead: all users of a machine can read arguments.
    """
    store = [] if "@" in tracking_uri else ["--backend-store-uri", tracking_uri]
    return [sys.executable, "-m", "mlflow", "ui", *store, "--workers", "1", "--host", host, "--port", str(port)]


def sqlite_path(tracking_uri: str) -> Path:
    """The database file of a `sqlite:` URI."""
    return Path(re.sub(r"^sqlite:/{0,3}", "", tracking_uri.partition("?")[0]) or "mlflow.db")
