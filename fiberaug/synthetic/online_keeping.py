"""Samples that were delivered and are to be kept: files, until they are in a pool.

A sample is kept by a second name of its file, so it costs no time and survives being
dropped from the buffer. One that was dropped before that leaves a marker, and is made
again. Both outlive any kill.
"""

import os
from contextlib import suppress

from fiberaug.errors import StoreError
from fiberaug.synthetic.online_files import pack, read_sample, write_whole
from fiberaug.synthetic.online_place import Place

__all__ = ["confirm", "keep_made", "lost"]


def confirm(place: Place, label: int, index: int) -> None:
    """Keep a sample that was delivered.

    Raises:
        StoreError: The disk is full or gone.
    """
    try:
        if not _keep(place, label, index):
            place.again.mkdir(parents=True, exist_ok=True)
            (place.again / f"{label}.{index}").touch()
    except StoreError:
        raise
    except OSError as error:
        raise StoreError(f"cannot keep {label}/{index}: {error.strerror}") from error


def _keep(place: Place, label: int, index: int) -> bool:
    """Give a sample of the buffer a second name; False where it is not there."""
    source, target = place.sample(label, index), place.kept_sample(label, index)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except FileExistsError:
        return True
    except FileNotFoundError:
        return target.exists()
    except OSError:  # a file system without second names
        members = read_sample(source)
        if members is None:
            return False
        write_whole(target, pack(members))
    return True


def lost(place: Place) -> list[tuple[int, int]]:
    """Return the samples that have to be made again to be kept."""
    found = []
    with suppress(FileNotFoundError):
        for entry in os.scandir(place.again):
            label, _, index = entry.name.partition(".")
            if label.isdecimal() and index.isdecimal():
                found.append((int(label), int(index)))
    return found


def keep_made(place: Place, label: int, index: int, data: bytes | None = None) -> bool:
    """Keep a sample that has a marker, where it can be.

    Args:
        place: The folder.
        label: Class of the sample.
        index: Its number in its class.
        data: Its file; None: it may be in the buffer.

    Returns:
        Whether it is kept now.
    """
    marker = place.again / f"{label}.{index}"
    if data is not None:
        if not marker.exists():
            return False
        write_whole(place.kept_sample(label, index), data)
    elif not _keep(place, label, index):
        return False
    marker.unlink(missing_ok=True)
    return True
