import numpy as np
from numpy.typing import NDArray

def load(path: str, /) -> bool: ...
def decode(
    data: bytes | memoryview,
    out: NDArray[np.uint8],
    width: int,
    height: int,
    x0: int,
    y0: int,
    x1: int,
    y1: int,
    scale: int,
    /,
) -> bool: ...
def check(data: bytes | memoryview, /) -> bool: ...
def add_restarts(
    data: bytes | memoryview, interval: int, rows: int, /
) -> bytes | None: ...
