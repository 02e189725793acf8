"""Names of what is baked: its shards and its keys."""

__all__ = ["baked_key", "digits_of", "shard_name"]

_EPOCH_DIGITS = 4


def digits_of(last_epoch: int) -> int:
    """Return how many digits epochs are written with, so that names sort."""
    return max(_EPOCH_DIGITS, len(str(last_epoch)))


def shard_name(number: int, epoch: int | None, digits: int) -> str:
    """Return the file name of a shard; names sort as the stream goes.

    >>> shard_name(12, 3, 4), shard_name(12, None, 4)
    ('epoch-0003-000012.tar', 'shard-000012.tar')
    """
    kind = "shard" if epoch is None else f"epoch-{epoch:0{digits}d}"
    return f"{kind}-{number:06d}.tar"


def baked_key(
    key: str, epoch: int, position: int, view: int | None, digits: int
) -> str:
    """Return a key that no other sample of the set has, in the folder of the old one.

    >>> baked_key("cat/007", 3, 1234, None, 4)
    'cat/e0003-00001234-007'
    >>> baked_key("007", 3, 1234, 1, 4)
    'e0003-00001234-v1-007'
    """
    folder, slash, last = key.rpartition("/")
    turn = "" if view is None else f"v{view}-"
    return f"{folder}{slash}e{epoch:0{digits}d}-{position:08d}-{turn}{last}"
