"""The jobs of a conversion on a Ray cluster: the same work, the same results."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from itertools import islice
from typing import Any, Protocol, TypeVar

from fiberaug.errors import FiberAugError, UsageError, WorkerDied
from fiberaug.jobs.crew import Done

__all__ = ["run_on_ray"]

_LOOK_S = 0.5


class _Result(Protocol):
    """What a job returns: enough to tell how far all are."""

    @property
    def images(self) -> int: ...
    @property
    def errors(self) -> list[dict[str, str]]: ...


_R = TypeVar("_R", bound=_Result)


def run_on_ray(
    work: Callable[..., _R],
    jobs: Iterable[tuple[Any, ...]],
    *,
    workers: int | None = None,
    told: Callable[[Done], None] = lambda _: None,
) -> Generator[_R]:
    """Yield ``work(*job)`` of each job, in the order of the jobs.

    The cluster is the one that this process is connected to, else that of
    ``RAY_ADDRESS``, else one that is started on this machine and ended afterwards. All
    nodes must see the folders that jobs read and write.

    Args:
        work: What to do.
        jobs: Arguments of each call.
        workers: Jobs at a time. None: as many as the cluster has CPUs.
        told: Is told how far the workers are.

    Raises:
        UsageError: Ray is not installed.
        WorkerDied: A job was lost with its worker again and again.
    """
    try:
        import ray  # noqa: PLC0415  # optional
    except ImportError as error:
        raise UsageError(
            'engine="ray" needs Ray: pip install "fiberaug[ray]"'
        ) from error
    ours = not ray.is_initialized()
    if ours:
        _connect(ray, workers)
    cluster: Any = ray
    many = workers or max(1, int(cluster.cluster_resources().get("CPU", 1)))

    def run(*job: Any) -> _R:  # noqa: ANN401  # Ray takes functions alone
        return work(*job)

    remote = ray.remote(num_cpus=1, max_retries=3)(run)
    waiting: deque[Any] = deque()
    images = left_out = done = 0
    try:
        rest = iter(jobs)
        while True:
            for job in islice(rest, 2 * many - len(waiting)):
                waiting.append(remote.remote(*job))
            if not waiting:
                break
            while not ray.wait([waiting[0]], timeout=_LOOK_S)[0]:
                told(Done(images, 0, left_out))
            result: _R = _fetched(ray, waiting.popleft(), done)
            done += 1
            lost = sum(line["outcome"] == "left out" for line in result.errors)
            images, left_out = images + result.images + lost, left_out + lost
            told(Done(images, 0, left_out))
            yield result
    finally:
        for reference in waiting:
            ray.cancel(reference, force=True)
        if ours:
            ray.shutdown()


def _connect(ray: Any, workers: int | None) -> None:  # noqa: ANN401  # the module
    import os  # noqa: PLC0415

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    options: dict[str, Any] = {"log_to_driver": False}
    if "RAY_ADDRESS" not in os.environ:
        options |= {"num_cpus": workers, "include_dashboard": False}
    ray.init(**options)


def _fetched(ray: Any, reference: Any, done: int) -> Any:  # noqa: ANN401  # the module
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        cause = getattr(error, "cause", None)
        if isinstance(cause, FiberAugError):
            raise cause from None
        raise
    except ray.exceptions.RayError as error:
        raise WorkerDied(
            f"a Ray worker was lost after {done} jobs ({error}); what is done is kept",
            stage="convert",
        ) from error
