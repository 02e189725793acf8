"""Bounds of a transfer, and how long it is waited for."""

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, fields

from fiberaug.errors import StoreError, UsageError

__all__ = ["NetPolicy", "Passing", "Patience", "Remote"]

_log = logging.getLogger("fiberaug")
_SAY_AFTER_S = 5.0
_ABOVE_0 = {"connect_s", "read_s", "rate_s"}


@dataclass(frozen=True, slots=True, kw_only=True)
class NetPolicy:
    """Time-outs and bounds of a transfer.

    Raises:
        UsageError: A bound is out of range.
    """

    connect_s: float = 10.0
    """Longest wait for a connection, s; above 0."""

    read_s: float = 30.0
    """Longest wait for the next bytes of an answer, s; above 0."""

    retries: int = 8
    """Tries in a row that may bring no byte, after the first."""

    stall_s: float = 60.0
    """Longest time without progress over all tries, s; looked at between two tries."""

    min_bytes_per_s: float = 1000.0
    """Mean rate over ``rate_s`` below which a transfer makes no progress, bytes/s."""

    rate_s: float = 30.0
    """Time over which the rate is a mean, s; above 0."""

    redirects: int = 5
    """Redirects that are followed."""

    backoff_s: float = 0.5
    """Bound of the first pause between tries, s; it doubles with each try."""

    max_backoff_s: float = 15.0
    """Bound of any pause between tries, s."""

    allowed_hosts: tuple[str, ...] | None = None
    """Hosts that may be asked over http(s), redirects included; ``.example.org`` means
    every host in that domain. None: any."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "allowed_hosts":
                continue
            least = 0.001 if field.name in _ABOVE_0 else 0
            if not value >= least:
                raise UsageError(f"{field.name} must be {least} or more, got {value!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """An object in a store."""

    size: int | None
    """Bytes; None: not said."""

    version: str
    """What changes when its content does: a strong ETag, the time of its last change,
    or a weak ETag. Empty: not said."""

    @property
    def pinned(self) -> bool:
        """Whether two bytes of one version are of one object (RFC 9110, 8.8.3)."""
        return bool(self.version) and not self.version.startswith("W/")


class Passing(Exception):
    """A try failed, and another may not.

    Args:
        reason: What happened, without URLs or credentials.
        wait_s: How long the server asks to wait, s. None: it does not say.
    """

    def __init__(self, reason: str, *, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.reason, self.wait_s = reason, wait_s


class Patience:
    """What a transfer has brought, and whether it is tried once more.

    Bytes are progress once they come at the rate of the policy: a window of ``rate_s``
    is earned by ``rate_s * min_bytes_per_s`` bytes, and until then no byte counts.

    Args:
        policy: The bounds.
        shown: What is fetched, for errors and logs; without credentials.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        policy: NetPolicy,
        shown: str,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._policy, self._shown, self._clock = policy, shown, clock
        self._needed = policy.min_bytes_per_s * policy.rate_s
        self._window = self._good = clock()
        self._bytes = 0
        self._failures = 0
        self._waiting: float | None = None

    def begin(self) -> None:
        """Note that a try begins: time between two tries is in no rate."""
        self._window = self._clock()

    def add(self, count: int) -> None:
        """Note that bytes came.

        Raises:
            Passing: They come too slowly.
        """
        now = self._clock()
        self._failures, self._waiting = 0, None
        passed = now - self._window
        if passed > self._policy.rate_s:
            rate, slow = self._bytes / passed, self._bytes < self._needed
            self._window, self._bytes = now, 0
            if slow:
                raise Passing(
                    f"{rate:.0f} bytes/s over {passed:.1f} s; at least"
                    f" {self._policy.min_bytes_per_s:g} are needed"
                )
        self._bytes += count
        if self._bytes >= self._needed:
            self._good = now

    def wait(self, failure: Passing) -> None:
        """Pause before the next try: full jitter, or what the server asks for.

        Raises:
            StoreError: There is no next try.
        """
        policy, now = self._policy, self._clock()
        self._failures += 1
        idle = now - self._good
        said = f"cannot read {self._shown}: {failure.reason}"
        if self._failures > policy.retries:
            raise StoreError(
                f"{said}; given up after {self._failures} tries without a byte",
                stage="fetch",
            )
        pause = failure.wait_s
        if pause is None:
            bound = min(policy.max_backoff_s, policy.backoff_s * 2**self._failures / 2)
            # The system's generator: a user's global one is neither read nor moved.
            pause = random.SystemRandom().uniform(0, bound)
        if idle + pause > policy.stall_s:
            asked = "" if failure.wait_s is None else f", the server asks for {pause:g}"
            raise StoreError(
                f"{said}; no progress for {idle:.1f} s{asked}; the bound is"
                f" {policy.stall_s:g} s",
                stage="fetch",
            )
        if self._waiting is None:
            self._waiting = now
        if now + pause - self._waiting >= _SAY_AFTER_S or pause >= _SAY_AFTER_S:
            _log.info(
                "waiting for %s: %s; try %d in %.1f s",
                self._shown,
                failure.reason,
                self._failures + 1,
                pause,
            )
        time.sleep(pause)
