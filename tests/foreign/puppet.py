"""What both Python sides share: the generated code and the payloads that the protocol of the tests agrees on."""

import functools
import sys
from pathlib import Path

# run.sh generates into the folder that it names.
sys.path.insert(0, str(Path(sys.argv[1]).resolve()))

import interop_pb2 as pb  # noqa: E402
import interop_pb2_grpc as rpc  # noqa: E402

__all__ = ["pb", "rpc", "pattern", "INITIAL", "TRAILING", "DETAILS"]

INITIAL = "x-initial-"
TRAILING = "x-trailing-"
DETAILS = "grpc-status-details-bin"


@functools.cache
def _period(index: int) -> bytes:
    return bytes((31 * i + 7 + index) % 256 for i in range(256))


def pattern(size: int, index: int = 0) -> bytes:
    """The payload of a reply whose size was asked for."""
    return (_period(index % 256) * (size // 256 + 1))[:size]
