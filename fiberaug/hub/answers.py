"""What the Hub and the network answered, as one line and a class of errors of ours.

``huggingface_hub`` shows signed URLs in its errors and its log, and a server can repeat
what it was sent: nothing of it is shown before credentials are taken out.
"""

import contextlib
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass

from fiberaug.errors import DataRefused, FiberAugError, StoreError, UsageError
from fiberaug.shards.urls import redact

__all__ = ["Answers"]

_MOST = 300
_AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
_BEARER = re.compile(r"(?i)\b(bearer|authorization:?)\s+\S+")
_TOKENS = re.compile(r"\bhf_[A-Za-z0-9]{8,}")
_NETWORK = frozenset(
    {"httpx", "httpx2", "httpcore", "httpcore2", "requests", "urllib3"}
)
_LATER = "the same command goes on: what is there already is not sent again"


@dataclass(frozen=True, slots=True)
class Answers:
    """Turns what a client raises into errors of ours."""

    endpoint: str
    """URL of the Hub."""

    token: str
    """Never shown."""

    def shown(self, text: object) -> str:
        """Return a text without credentials, on one line."""
        plain = " ".join(str(text).split()).replace(self.token, "***")
        plain = _TOKENS.sub("***", _BEARER.sub(r"\1 ***", plain))
        return redact(plain)[:_MOST]

    def may_pass(self, error: BaseException) -> bool:
        """Return whether the same request may succeed a little later."""
        status = status_of(error)
        if status is not None:
            return status in _AGAIN
        return self._is_network(error) and not _is_offline(error)

    def translated(self, error: Exception, *, doing: str) -> FiberAugError:
        """Return what to raise in place of an error of the client.

        Args:
            error: What came.
            doing: What was going on, such as "make the repository".
        """
        said, status = self.shown(_said(error)), status_of(error)
        if status is not None:
            return self._by_status(status, said, doing)
        if _is_offline(error):
            return UsageError("HF_HUB_OFFLINE is set, and a push needs the network")
        if self._is_network(error):
            return StoreError(f"cannot reach {self.endpoint} ({said}): {_LATER}")
        return StoreError(f"cannot {doing}: {said}; {_LATER}")

    def _by_status(self, status: int, said: str, doing: str) -> FiberAugError:
        if status == 429:
            return StoreError(
                f"{self.endpoint} asks to wait (429), again and again: {_LATER}"
            )
        if status >= 500 or status == 408:
            return StoreError(f"{self.endpoint} fails to {doing} ({status}): {_LATER}")
        told = {
            401: f"{self.endpoint} does not take the token: make one that may write,"
            f" and give it by HF_TOKEN or hf auth login ({said})",
            403: f"the token may not {doing}: choose a name of your own, or make a"
            f" token that may write there ({said})",
            404: f"cannot {doing}: {self.endpoint} has no such place ({said})",
        }  # fmt: skip
        if status in told:
            return UsageError(told[status])
        return DataRefused(f"{self.endpoint} refused to {doing} ({status}): {said}")

    def _is_network(self, error: BaseException) -> bool:
        """Return whether an error is of the connection, not of an answer."""
        return any(
            type(one).__module__.partition(".")[0] in _NETWORK
            or isinstance(one, ConnectionError | TimeoutError)
            for one in _chain(error)
        )

    @contextlib.contextmanager
    def quiet_log(self) -> Iterator[None]:
        """Take credentials out of what ``huggingface_hub`` logs in the meantime."""
        handlers = logging.getLogger("huggingface_hub").handlers

        def clean(record: logging.LogRecord) -> bool:
            record.msg, record.args = self.shown(record.getMessage()), ()
            record.exc_info = record.exc_text = None
            return True

        for handler in handlers:
            handler.addFilter(clean)
        try:
            yield
        finally:
            for handler in handlers:
                handler.removeFilter(clean)


def _is_offline(error: BaseException) -> bool:
    return type(error).__name__ == "OfflineModeIsEnabled"


def status_of(error: BaseException) -> int | None:
    """Return the HTTP status that an error, or what caused it, came with."""
    for one in _chain(error):
        status = getattr(getattr(one, "response", None), "status_code", None)
        if isinstance(status, int):
            return status
    return None


def _said(error: BaseException) -> str:
    """Return what the server said, or else the innermost error."""
    chain = list(_chain(error))
    for one in chain:
        message = getattr(one, "server_message", None)
        if message:
            return str(message)
    inner = chain[-1]
    return str(inner) or type(inner).__name__


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it was raised from, without going round."""
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        yield found
        found = found.__cause__
