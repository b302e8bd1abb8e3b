"""Contract tests as base classes: what every searcher, axis option, metric, tracker, runner and run folder must keep.

The package's own implementations inherit them, and so can yours:

    from sde_ray.testing import SearcherContract

    class TestNearest(SearcherContract):
        def build(self, designs, budget=None, seed=0):
            return Nearest(designs, budget=budget, seed=seed)

searcher.py  axis_option.py  metric.py  tracker.py  runner.py  folder.py    the contracts
planted.py  tasks.py                                                        a planted best design, small tasks

They are run by pytest and use its `tmp_path`; for its explanations of failed assertions put
`pytest.register_assert_rewrite("sde_ray.testing")` into your conftest.py, before the first import. Nothing else of the
package imports this room.
"""

from __future__ import annotations

from sde_ray.testing.axis_option import AxisOptionContract
from sde_ray.testing.folder import FolderContract
from sde_ray.testing.metric import MetricContract
from sde_ray.testing.planted import BEST, planted
from sde_ray.testing.runner import RunnerContract
from sde_ray.testing.searcher import SearcherContract
from sde_ray.testing.tracker import TrackerContract

__all__ = [
    "BEST",
    "AxisOptionContract",
    "FolderContract",
    "MetricContract",
    "RunnerContract",
    "SearcherContract",
    "TrackerContract",
    "planted",
]
