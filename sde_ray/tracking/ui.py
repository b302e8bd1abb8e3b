"""MLflow's page of a sweep: where it is, and a server for runs that are in a file.

with ui_server("sqlite:////abs/runs/mlflow.db", port=5000) as server:
    sweep_address(server, tracking_uri, "sde_ray", folder)       # http://127.0.0.1:5000/#/experiments/1/runs?...
"""

from __future__ import annotations

import os
import subprocess
import time
import urllib.request
from pathlib import Path

from sde_ray.errors import UserError
from sde_ray.safe_text import mask
from sde_ray.tracking.comparison_view import TAG, share_key, ui_address
from sde_ray.tracking.mlflow_tracker import MlflowTracker
from sde_ray.tracking.sweep_id import SWEEP_ID_FILE, read_sweep_id
from sde_ray.tracking.tracking_uri import ui_command

START_SECONDS = 120.0  # for the server to answer; it has much to import
LOG = "mlflow-ui.log"


def sweep_address(server: str, tracking_uri: str, experiment_name: str, folder: Path) -> str:
    """The page that compares a sweep's trials; the experiments' own page where MLflow has nothing of the sweep yet.

    Args:
        server: where the page is served, such as http://127.0.0.1:5000.
        tracking_uri: the store of the runs.
        experiment_name: MLflow's experiment.
        folder: the sweep's folder on this machine.

    Raises:
        UserError: when the store cannot be read.
    """
    if not (folder / SWEEP_ID_FILE).is_file():
        return server
    sweep_id = read_sweep_id(folder)
    try:
        experiment = MlflowTracker(tracking_uri).client.get_experiment_by_name(experiment_name)
    except Exception as error:
        raise UserError(
            f"MLflow at {mask(tracking_uri)} cannot be read: {mask(f'{type(error).__name__}: {error}')}. Check the "
            "address and that the server runs; what the sweep has found is in its folder all the same."
        ) from None
    if experiment is None or TAG + share_key(sweep_id) not in experiment.tags:
        return server
    return ui_address(server, experiment.experiment_id, sweep_id)


class UiServer:
    """A server of MLflow's page, in a process of its own.

    Args:
        tracking_uri: the store of the runs.
        port: port of the page.
        host: address that may open it; 0.0.0.0 for all.
        log: what the server says goes there.
    """

    def __init__(self, tracking_uri: str, port: int, host: str, log: Path) -> None:
        self.address = f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}"
        self.log = log
        environment = {**os.environ, "MLFLOW_BACKEND_STORE_URI": tracking_uri}
        with log.open("wb") as said:
            command = ui_command(tracking_uri, port, host)
            self._process = subprocess.Popen(command, env=environment, stdout=said, stderr=said)

    def __enter__(self) -> UiServer:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.terminate()
        self._process.wait()

    def wait(self) -> None:
        """Wait until the server ends."""
        self._process.wait()

    def wait_until_healthy(self) -> None:
        """Wait until the page answers. Raises UserError: when it does not."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.address}/health", timeout=5):
                    break
            except OSError:
                time.sleep(0.2)
        time.sleep(0.2)  # another server may have answered, on the port that this one could not have
        if self._process.poll() is None and time.monotonic() < deadline:
            return
        last = self.log.read_text(errors="replace").strip().splitlines()[-1:] or ["nothing"]
        raise UserError(
            f"MLflow's page did not start at {self.address}; its last words: {str(mask(last[0]))[:300]}. The whole log "
            f'is "{self.log}". If the port is taken, choose another one with --port.'
        )
