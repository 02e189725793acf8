"""The buffer holds what it may, and what is dropped comes again the same."""

import time
from contextlib import suppress
from functools import partial

from onlines import CLASSES, Uneven, make, right

from fiberaug.synthetic.online import OnlineGenerator


def make_online(tmp_path, factory=make, **options):
    return OnlineGenerator(factory, tmp_path / "buffer", classes=CLASSES, **options)


def test_the_buffer_never_holds_more_than_it_may(tmp_path):
    with make_online(tmp_path, ahead=50, most_bytes=40_000) as source:
        sizes = []
        for i in range(60):
            for label in range(3):
                assert right(source.take(label, i), label, i)
                sizes.append(held(tmp_path))

        assert max(sizes) <= 40_000
        assert max(sizes) > 20_000
        assert source.stats()["late"] == 0


def test_a_full_buffer_of_uneven_samples_is_full_and_at_rest(tmp_path):
    log = tmp_path / "log"
    factory = partial(Uneven, log)
    with make_online(tmp_path, factory, ahead=300, most_bytes=60_000) as source:
        sizes = []
        for i in range(50):
            assert source.take(i % 3, i // 3) is not None
            sizes.append(held(tmp_path))
        made = at_rest(log)

        assert 40_000 < max(sizes) <= 60_000
        assert made - source.stats()["made"] <= 3 * 8  # made, and no room for them


def test_a_sample_larger_than_all_before_makes_room_for_itself(tmp_path):
    log, marker = tmp_path / "log", tmp_path / "large"
    factory = partial(Uneven, log, marker)
    with make_online(tmp_path, factory, ahead=300, most_bytes=30_000) as source:
        small = source.take(0, 0)
        at_rest(log)
        assert held(tmp_path) > 30_000 - 8 * 2000
        marker.touch()
        sizes = []
        for i in range(12):
            large = source.take(i % 3, 1000 + i)
            assert len(large["png"]) > 2 * len(small["png"])
            sizes.append(held(tmp_path))

        assert max(sizes) <= 30_000


def at_rest(log):
    """How many samples were made, once no more are."""
    made = [0, log.stat().st_size]
    while made[-1] != made[-2]:
        time.sleep(0.3)
        made.append(log.stat().st_size)
    return made[-1]


def held(tmp_path):
    """Bytes of the files in the buffer."""
    sizes = []
    for path in list((tmp_path / "buffer/ready").rglob("*")):
        with suppress(FileNotFoundError):
            sizes.append(path.stat().st_size if path.is_file() else 0)
    return sum(sizes)


def test_a_sample_that_was_dropped_is_made_again_the_same(tmp_path):
    with make_online(tmp_path, ahead=2, most_bytes=9000) as source:
        first = [source.take(0, i) for i in range(3)]
        for i in range(3, 40):
            source.take(0, i)

        assert [source.take(0, i) for i in range(3)] == first
        assert source.stats()["made"] >= 43
