"""A parcel sent to the Hub: large files first, then one commit that names all.

A commit is made when everything is there, so nobody ever fetches half a set. Large
files that arrived before a kill are not sent again: the store knows them by their hash.
"""

import contextlib
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from typing import Any, TypeVar

from fiberaug.errors import FiberAugError, UsageError
from fiberaug.hub.answers import Answers
from fiberaug.hub.options import Parcel, Pushed, PushOptions
from fiberaug.sizes import counted

__all__ = ["Sender"]

Result = TypeVar("Result")
_WAITS = (1.0, 2.0, 4.0, 8.0)  # seconds before the same request is made again
_AT_ONCE = 64  # files whose hashes the store is asked for at a time
_MOST_NAMED = 5


class Sender:
    """Sends parcels to one Hub with one token.

    Args:
        hub: The module ``huggingface_hub``.
        endpoint: URL of the Hub.
        token: It is handed to the client and to nobody else.
    """

    def __init__(self, hub: Any, *, endpoint: str, token: str) -> None:  # noqa: ANN401
        self._hub = hub
        self._api = hub.HfApi(endpoint=endpoint, token=token, library_name="fiberaug")
        self._answers = Answers(endpoint, token)

    def who(self) -> str:
        """Return the name of whom the token belongs to.

        Raises:
            UsageError: The token is not taken, or may only read.
            StoreError: The Hub cannot be reached.
        """
        told = self._asked(
            self._api.whoami, doing="ask whose token it is", waits=_WAITS[:1]
        )
        role = told.get("auth", {}).get("accessToken", {}).get("role")
        if role == "read":
            raise UsageError(
                "the token may only read: make one that may write, and give it by"
                " HF_TOKEN or hf auth login"
            )
        return str(told.get("name", ""))

    def send(self, parcel: Parcel, options: PushOptions) -> Pushed:
        """Send a parcel, and return what came of it.

        Args:
            parcel: What is sent.
            options: To whom; the name with its user.

        Raises:
            UsageError: The token may not write there, or the repository is public and
                that was not asked for.
            DataRefused: The Hub does not take the files.
            StoreError: The Hub or the network fails; the same call goes on.
        """
        with self._quiet(options) as warned:
            place = {"repo_id": options.name, "repo_type": parcel.repo_type}
            private = self._repository(place, options)
            place["revision"] = options.revision
            files = self._operations(parcel)
            for first in range(0, len(files), _AT_ONCE):
                some = files[first : first + _AT_ONCE]
                take = partial(self._api.preupload_lfs_files, free_memory=False)
                self._asked(
                    partial(take, additions=some, **place), doing="take the files"
                )
            # Made anew: one that was lost on its way may have been committed.
            attempts = chain([files], iter(lambda: self._operations(parcel), None))
            message = options.message or f"Push a {parcel.kind} with FiberAug"
            made = self._asked(
                lambda: self._api.create_commit(
                    operations=next(attempts), commit_message=message, **place
                ),
                doing="take the commit",
            )
            left = self._others(parcel, place)
        notes = (*parcel.notes, *self._told(private, options), *left, *warned)
        prefix = "datasets/" if parcel.repo_type == "dataset" else ""
        return Pushed(
            parcel=parcel, name=options.name, revision=options.revision,
            commit=str(made.oid), private=private, notes=notes,
            url=f"{self._answers.endpoint}/{prefix}{options.name}",
        )  # fmt: skip

    def _operations(self, parcel: Parcel) -> list[Any]:
        """Return the files as the client takes them."""
        return [
            self._hub.CommitOperationAdd(
                path_in_repo=item.path,
                path_or_fileobj=item.source
                if isinstance(item.source, bytes)
                else str(item.source),
            )
            for item in parcel.items
        ]

    def _repository(self, place: dict[str, Any], options: PushOptions) -> bool:
        """Make the repository, and its branch, where they are not; is it private?"""
        private = self._is_private(place)
        if private is None:
            self._asked(
                lambda: self._api.create_repo(
                    private=not options.public, exist_ok=True, **place
                ),
                doing=f"make the repository {options.name}",
            )
            private = self._is_private(place)
        if not private and not options.public:
            raise UsageError(
                f"{options.name} is there and is public: give --public (public=True) if"
                " everybody may see what is sent, or another name"
            )
        if options.revision != "main":
            self._asked(
                lambda: self._api.create_branch(
                    branch=options.revision, exist_ok=True, **place
                ),
                doing=f"make the branch {options.revision}",
            )
        return bool(private)

    def _is_private(self, place: dict[str, Any]) -> bool | None:
        """Return whether others cannot see the repository; None: it is not there."""

        def ask() -> bool | None:
            try:
                return bool(self._api.repo_info(**place).private)
            except self._hub.errors.RepositoryNotFoundError:
                return None

        return self._asked(ask, doing=f"look at {place['repo_id']}")

    def _others(self, parcel: Parcel, place: dict[str, Any]) -> list[str]:
        """Return a note on files of the branch that the folder has not."""
        there = self._asked(
            lambda: self._api.list_repo_files(**place), doing="list the repository"
        )
        mine = {item.path for item in parcel.items} | {".gitattributes"}
        others = sorted(set(there) - mine)
        if not others:
            return []
        some = ", ".join(others[:_MOST_NAMED]) + ", ..." * (len(others) > _MOST_NAMED)
        has = counted(len(others), "file")
        return [f"the repository has {has} that the folder has not: {some}"]

    @staticmethod
    def _told(private: bool, options: PushOptions) -> list[str]:  # noqa: FBT001
        if private and options.public:
            return ["the repository was there and is private: its settings change that"]
        return []

    def _asked(
        self,
        call: Callable[[], Result],
        *,
        doing: str,
        waits: tuple[float, ...] | None = None,
    ) -> Result:
        """Return what a call gives; it is made again where that may help."""
        for wait in (*(_WAITS if waits is None else waits), None):
            try:
                with self._answers.quiet_log():
                    return call()
            except FiberAugError:
                raise
            except (TypeError, AttributeError, KeyError):
                raise  # of this program: it should be seen
            except Exception as error:  # noqa: BLE001  # httpx, hf_xet: no common base
                if wait is None or not self._answers.may_pass(error):
                    # What it was raised from shows signed URLs.
                    raise self._answers.translated(error, doing=doing) from None
            time.sleep(wait)
        raise AssertionError

    @contextlib.contextmanager
    def _quiet(self, options: PushOptions) -> Iterator[list[str]]:
        """Keep the client's bars, log and warnings within bounds; give the warnings."""
        bars = self._hub.utils
        wanted = options.progress and sys.stderr.isatty()
        hidden = not wanted and not bars.are_progress_bars_disabled()
        told: list[str] = []
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("ignore")  # what the client's parts deprecate
            warnings.simplefilter("always", UserWarning)
            if hidden:
                bars.disable_progress_bars()
            try:
                yield told
            finally:
                if hidden:
                    bars.enable_progress_bars()
                told += [self._answers.shown(one.message) for one in caught]
