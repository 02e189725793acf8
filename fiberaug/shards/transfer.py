"""What a transfer is: its bounds, the object at the other end, a body, patience."""

import errno
import logging
import random
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from fiberaug.errors import StoreError
from fiberaug.shards.urls import redact

__all__ = [
    "Body",
    "Interrupted",
    "NetPolicy",
    "Patience",
    "Remote",
    "Store",
    "not_found",
]

_log = logging.getLogger("fiberaug")
_SAY_AFTER_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NetPolicy:
    """Time-outs and retries of a transfer."""

    connect_s: float = 10.0
    """Longest wait for a connection, s."""

    read_s: float = 30.0
    """Longest wait for the next bytes, s."""

    retries: int = 8
    """Attempts in a row without progress, after the first."""

    stall_s: float = 60.0
    """Longest time without progress over all attempts, s."""

    min_bytes_per_s: float = 10_000.0
    """Rate below which a transfer makes no progress, bytes/s."""

    rate_s: float = 30.0
    """Time over which the rate is measured, s."""

    backoff_s: float = 0.2
    """Bound of the first pause between attempts, s; it doubles each time."""

    max_backoff_s: float = 10.0
    """Bound of any pause, s."""

    redirects: int = 5
    """Redirects that are followed, http(s) only."""

    allowed_hosts: tuple[str, ...] | None = None
    """Hosts that may be asked, redirects included; None: any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """An object at the other end."""

    size: int | None
    """Bytes; None: not said."""

    version: str
    """What changes with its content: ETag, generation, date. Empty: not said."""


class Interrupted(Exception):
    """An attempt failed in a way that another may not.

    Args:
        reason: What happened, in words, without credentials.
        after_s: When the server wants to be asked again, s.
    """

    def __init__(self, reason: str, after_s: float | None = None) -> None:
        super().__init__(reason)
        self.reason, self.after_s = reason, after_s


class Body(Protocol):
    """The bytes of one attempt."""

    remote: Remote
    """The object that they belong to."""

    start: int
    """Byte of the object at which they begin."""

    def __iter__(self) -> Iterator[bytes]:
        """Yield them; raises Interrupted where they break off."""
        ...


class Store(Protocol):
    """Where objects are."""

    def stat(self, url: str) -> Remote:
        """Return size and version. Raises StoreError, Interrupted."""
        ...

    def read(self, url: str, start: int, known: Remote) -> AbstractContextManager[Body]:
        """Open an object from a byte on. Raises StoreError, Interrupted."""
        ...


class Patience:
    """Decides after each failed attempt whether there is another, and when.

    Args:
        url: What is fetched, for errors.
        policy: The bounds.
    """

    def __init__(self, url: str, policy: NetPolicy) -> None:
        self._url, self._policy = redact(url), policy
        self._moved = time.monotonic()
        self._attempts = 0
        self._said = False

    def progress(self, size: int, seconds: float) -> None:
        """Note an attempt's bytes: at a fair rate they count as progress."""
        if size > self._policy.min_bytes_per_s * max(seconds, 0.01):
            self._attempts, self._moved = 0, time.monotonic()

    def wait(self, failure: Interrupted) -> None:
        """Pause before the next attempt.

        Raises:
            StoreError: There have been enough.
        """
        policy = self._policy
        bound = min(policy.max_backoff_s, policy.backoff_s * 2**self._attempts)
        # A generator of its own: the user's stays as it is.
        pause = random.SystemRandom().uniform(0, bound)
        if failure.after_s is not None:
            pause = max(pause, failure.after_s)
        self._attempts += 1
        idle = time.monotonic() - self._moved
        if self._attempts > policy.retries or idle + pause > policy.stall_s:
            raise StoreError(
                f"cannot read {self._url}: {failure.reason}; {self._attempts} attempts"
                f" and {idle:.1f} s without progress (at most {policy.retries} retries"
                f" and {policy.stall_s:g} s)",
                stage="fetch",
            ) from None
        if not self._said and idle + pause > _SAY_AFTER_S:
            self._said = True
            _log.info("waiting for %s: %s", self._url, failure.reason)
        time.sleep(pause)


def not_found(url: str, what: str) -> StoreError:
    """Return the error for an object that is not there."""
    error = StoreError(f"cannot read {redact(url)}: {what}", stage="fetch")
    error.errno = errno.ENOENT
    return error
