"""What a probe of credentials makes of servers that misbehave: the same for every backend."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Final

from support import faults

FAULTS: Final[dict[str, tuple[Callable[[], AbstractContextManager[Any]], str]]] = {
    "dead port": (faults.refused, "unreachable"),
    "black hole": (faults.black_hole, "unreachable"),
    "slow headers": (faults.slow_headers, "unreachable"),
    "html": (faults.html, "unchecked"),
    "invalid json": (faults.invalid_json, "unchecked"),
    "other json": (faults.other_shape_json, "unchecked"),
    "403": (lambda: faults.status(403, {"error": "forbidden"}), "forbidden"),
    "404": (lambda: faults.status(404, {"error": "no such page"}), "unchecked"),
    "429": (lambda: faults.status(429, {"error": "slow down"}), "unchecked"),
    "500": (lambda: faults.status(500, {"error": "broken"}), "unreachable"),
}
"""By name: makes the server, and the status of the report."""


LATE: Final = ("black hole", "slow headers")
"""Those that are given up on."""


def check_fault(name: str, probe: Callable[[str, float], Any], secret: str) -> None:
    """See what a probe makes of a server.

    Args:
        name: One of `FAULTS`.
        probe: Given the server's address and a timeout, returns the report of a probe.
        secret: The key that was sent.
    """
    make, status = FAULTS[name]
    with make() as server:
        report = probe(server.url, 0.5 if name in LATE else 60.0)
        assert (report.status, report.checked) == (status, status == "forbidden"), report
        assert report.message
        assert secret not in repr(report)
        if name == "black hole":
            assert "did not answer within" in report.message
