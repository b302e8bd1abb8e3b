"""The worker of this folder's tests: one in this process for each file, whose base model stays."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sde_ray.training.worker import Worker


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    one = Worker()
    one.join(*one.address())
    yield one
    one.end_trial()
