"""moto's server, whose writes to S3 are done one after the other, as S3 promises: a condition and its write are one.

    python -m helpers.atomic_moto --host 127.0.0.1 --port 5000

moto itself looks at `If-Match` in one step and writes in another, so of two requests at once both may succeed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from moto.s3.responses import S3Response
from moto.server import main

_writing = threading.Lock()


def one_at_a_time(method: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        with _writing:
            return method(*arguments, **options)

    return call


for _name in ("put_object", "delete_object"):
    setattr(S3Response, _name, one_at_a_time(getattr(S3Response, _name)))

if __name__ == "__main__":
    main()
