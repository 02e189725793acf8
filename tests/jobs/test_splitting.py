"""The order in which groups are dealt is a hash of their names: the same for ever."""

from hashlib import blake2b

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fiberaug.jobs.splitting import _mixed

NAMES = st.lists(st.integers(0, 2**64 - 1), max_size=12, unique=True)


@given(names=NAMES, seed=st.integers(0, 5))
def test_groups_come_in_the_order_of_the_hashes_of_seed_and_name(names, seed):
    def digest(name):
        text = b"split\0%d\0" % seed + name.to_bytes(8, "little")
        return blake2b(text, digest_size=8).digest()

    order = _mixed(np.array(names, np.uint64), seed)

    assert [names[i] for i in order] == sorted(names, key=digest)
