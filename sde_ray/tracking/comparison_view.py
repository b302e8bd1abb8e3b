"""Comparison of a sweep's trials in MLflow's own page: one address that opens with the right columns and charts.

    view = ComparisonView(axes=("format", "labels"), objective="dev/weighted_kappa", metrics=("tokens/output",))
    client.set_experiment_tag(experiment, *view.experiment_tag(sweep_id))
    ui_address("http://127.0.0.1:5000", experiment, sweep_id, view)

MLflow keeps a view that a user shares as an experiment's tag `mlflow.sharedViewState.KEY`, and opens it at
`viewStateShareKey=KEY`; the same is written here. A version of MLflow that does not know a part of it shows its plain
table: `table_address` filters and sorts that by itself.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

TAG = "mlflow.sharedViewState."
MAX_PLAIN = 4000  # characters of a tag; MLflow's page reads longer ones deflated
DESIGNS, OPTIONS, TRAINING = "Designs", "Options of each axis", "Training"
SECTIONS = (DESIGNS, OPTIONS, TRAINING)
CLOSED_SECTIONS = ("dev", "dev_ood", "faults", "seconds", "tokens", "train", "test", "test_ood")
"""What MLflow makes of the part of a metric's name before the slash; all of it is there, below, folded."""
TOKENS, LOSS, LEARNING_RATE = "tokens/output", "train/loss", "train/learning_rate"


@dataclass(frozen=True)
class ComparisonView:
    """What is compared.

    Args:
        axes: axes with several options in the sweep; each is a column, a coordinate and a chart.
        objective: metric that ranks the trials, with its split.
        metrics: further metrics with a column.
        params: further params with a column, such as the seed.
    """

    axes: tuple[str, ...]
    objective: str
    metrics: tuple[str, ...] = ()
    params: tuple[str, ...] = ("seed",)

    def experiment_tag(self, sweep_id: str) -> tuple[str, str]:
        """The name and the value of the experiment's tag that holds the view."""
        value = json.dumps(self.state(sweep_id))
        if len(value) > MAX_PLAIN:
            value = "deflate;" + base64.b64encode(zlib.compress(value.encode())).decode()
        return TAG + share_key(sweep_id), value

    def state(self, sweep_id: str) -> dict[str, Any]:
        """The view as MLflow's page keeps it: filter, order, columns, charts and their sections."""
        columns = [_column("metrics", name) for name in (self.objective, *self.metrics)]
        columns += [_column("params", name) for name in (*self.axes, *self.params)]
        columns += [_column("attributes", name) for name in ("Dataset", "Source")]
        return {
            **self._facets(sweep_id),
            "lifecycleFilter": "Active",
            "datasetsFilter": [],
            "modelVersionFilter": "All Runs",
            "selectedColumns": columns,
            "runsHiddenMode": "SHOW_ALL",
            "hideEmptyCharts": True,
            "isAccordionReordered": True,
            "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""},
            "compareRunCharts": self._charts(),
            "compareRunSections": [*(_section(name) for name in SECTIONS), *map(_closed_section, CLOSED_SECTIONS)],
        }

    def filter(self, sweep_id: str) -> str:
        """The trials of the sweep's search, without those of its final comparison, as a search of MLflow."""
        return f"tags.`sde.sweep_id` = '{sweep_id}' and tags.`sde.run` = 'trial' and tags.`sde.phase` = 'search'"

    def _facets(self, sweep_id: str) -> dict[str, Any]:
        order = _column("metrics", self.objective)
        return {"searchFilter": self.filter(sweep_id), "orderByKey": order, "orderByAsc": False, "startTime": "ALL"}

    def _charts(self) -> list[dict[str, Any]]:
        scored = {"type": "METRIC", "key": self.objective}
        return [
            *([_parallel(self.axes, self.objective)] if self.axes else []),
            _chart("cost", DESIGNS, "SCATTER", xaxis={"type": "METRIC", "key": TOKENS}, yaxis=scored),
            _chart("ranking", DESIGNS, "BAR", metricKey=self.objective),
            *(
                _chart(f"axis-{axis}", OPTIONS, "SCATTER", xaxis={"type": "PARAM", "key": axis}, yaxis=scored)
                for axis in self.axes
            ),
            _chart("loss", TRAINING, "LINE", metricKey=LOSS, selectedMetricKeys=[LOSS]),
            _chart("learning-rate", TRAINING, "LINE", metricKey=LEARNING_RATE, selectedMetricKeys=[LEARNING_RATE]),
        ]


def share_key(sweep_id: str) -> str:
    """The key of a sweep's view; the same for every machine and every run of it."""
    return f"sde-{sweep_id[:16]}"


def ui_address(server: str, experiment_id: str, sweep_id: str) -> str:
    """The page of a server on which the view of a sweep opens."""
    return _address(server, experiment_id, {"viewStateShareKey": share_key(sweep_id)})


def table_address(server: str, experiment_id: str, sweep_id: str, view: ComparisonView) -> str:
    """The page with the plain table of the same trials, sorted; for a server that cannot keep the view."""
    facets = {
        name: str(value).lower() if value is False else str(value) for name, value in view._facets(sweep_id).items()
    }
    return _address(server, experiment_id, facets)


def _address(server: str, experiment_id: str, query: dict[str, str]) -> str:
    text = urlencode({"workflowType": "machine_learning", **query}, quote_via=quote)
    return f"{server.rstrip('/')}/#/experiments/{experiment_id}/runs?{text}"


def _column(kind: str, name: str) -> str:
    """A column as MLflow's page names it."""
    return f"{kind}.`{name}`"


def _parallel(axes: Sequence[str], objective: str) -> dict[str, Any]:
    return _chart("axes", DESIGNS, "PARALLEL", selectedParams=list(axes), selectedMetrics=[objective], showAllRuns=True)


def _chart(name: str, section: str, kind: str, **settings: Any) -> dict[str, Any]:
    own = {"uuid": f"sde-{name}", "type": kind, "metricSectionId": _section_id(section)}
    return {**own, "isGenerated": False, "deleted": False, "runsCountToCompare": 100, **settings}


def _section(name: str, display: bool = True) -> dict[str, Any]:
    fixed = {"isReordered": True, "deleted": False, "isGenerated": False}
    return {"uuid": _section_id(name), "name": name, "display": display, **fixed}


def _closed_section(name: str) -> dict[str, Any]:
    return _section(name, display=False)


def _section_id(name: str) -> str:
    return "sde-section-" + name.replace(" ", "-").lower()
