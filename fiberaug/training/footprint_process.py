"""What this process takes without a training: the interpreter and its libraries."""

import sys
from contextlib import suppress
from functools import cache
from pathlib import Path

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional

__all__ = ["address_space_left", "base_bytes", "resident_bytes"]

_TYPICAL = 330 * 10**6  # bytes, of Python with torch, where a system does not say
_SCRATCH = 25 * 10**6  # bytes; found by comparing with processes that train
_STATUS = Path("/proc/self/status")


def resident_bytes() -> int:
    """Return the bytes of memory that this process has; a guess where none says."""
    return _of_status("VmRSS") or _TYPICAL


def base_bytes() -> int:
    """Return the bytes of this process, with libraries that start at the first use.

    oneDNN and MKL take about 100 MB when the first convolution is made, and what
    pretends to compute takes some, too; small ones are made here. What Python keeps of
    a step, and scratch memory of libraries, is added.
    """
    _start()
    return resident_bytes() + _SCRATCH


@cache
def _start() -> None:
    source = torch.Generator().manual_seed(0)
    weight = torch.randn(32, 32, 3, 3, generator=source, requires_grad=True)
    for kind in (torch.float32, torch.bfloat16):
        images = torch.randn(4, 32, 16, 16, generator=source).to(kind)
        images.requires_grad_()
        out = functional.conv2d(images, weight.to(kind), padding=1)
        (slope,) = torch.autograd.grad(
            out.float().square().sum(), images, create_graph=True
        )
        slope.float().square().sum().backward()  # type: ignore[no-untyped-call]
    square = torch.randn(64, 64, generator=source)
    square @ square  # the library of matrix products starts, too
    with FakeTensorMode():
        functional.conv2d(torch.empty(1, 1, 4, 4), torch.empty(1, 1, 3, 3))


def address_space_left() -> int | None:
    """Return the bytes of ``ulimit -v`` that are left; None: there is no limit."""
    try:
        import resource  # noqa: PLC0415  # there is none on Windows
    except ImportError:
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft < 0 or soft >= sys.maxsize:
        return None
    return max(0, soft - (_of_status("VmSize") or 0))


def _of_status(name: str) -> int | None:
    with suppress(OSError):
        for line in _STATUS.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return None
