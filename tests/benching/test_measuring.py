"""Laws of the measurements: they add up, and count what was delivered and no more."""

import multiprocessing
import tempfile
import threading
import time
from functools import partial

import albumentations as A
import cv2
import numpy as np
import pytest
from burning import Burn
from httpfolder import HttpFolder
from PIL import Image
from rendered_jpegs import soft_noise
from sets import photo

import fiberaug
from fiberaug.benching.hints import Trials
from fiberaug.benching.opened import open_set, with_form
from fiberaug.benching.operations import measure_operations
from fiberaug.benching.options import BenchOptions
from fiberaug.benching.photos import measure_ceilings
from fiberaug.benching.stages import _Run, measure_stages, samples_for
from fiberaug.benching.trying import try_otherwise
from fiberaug.benching.turns import ROUNDS, measure_loaders, measure_steps
from fiberaug.benching.verdict import parts
from fiberaug.decode import turbo
from fiberaug.jobs.indexing import index_shards


def opened(shards, transform=None, **options):
    options = {"batch_size": 8, "progress": False} | options
    return with_form(open_set(BenchOptions(shards=shards, recipe=transform, **options)))


def crop(side=24):
    return A.Compose([A.RandomResizedCrop((side, side)), A.HorizontalFlip(p=0.5)])


@pytest.fixture
def folder(tmp_path):
    """A function (files by name) -> a set of them."""

    def write(files, name="set", **options):
        place = tmp_path / f"{name}-photos" / "one"
        place.mkdir(parents=True)
        for file, data in files.items():
            (place / file).write_bytes(data)
        fiberaug.convert(
            place.parent, tmp_path / name, shard_size="200MB", progress=False, **options
        )
        return str(tmp_path / name)

    return write


def jpeg(path, image, **options):
    image.save(path, "JPEG", **options)
    return path.read_bytes()


def test_the_stages_add_up_to_the_whole(write_set):
    one = opened(write_set(60), crop())
    times = measure_stages(one, 24, 0.05)
    ceilings = measure_ceilings(one, 24, 0.05)

    assert times.samples == 24
    assert times.passes >= 3
    costs = parts(times, ceilings)
    assert min(costs.values()) >= 0
    assert sum(costs.values()) == pytest.approx(times.stages.whole)
    low, high = times.spread
    assert low <= times.stages.whole <= high
    assert times.received < times.stages.whole
    assert times.out_pixels == 24 * 24
    assert times.batch_bytes >= 8 * 3 * 24 * 24
    assert times.failures == 0


def test_the_whole_is_no_more_than_the_cpu_time_that_went_by(write_set):
    one = opened(write_set(60), crop())
    started = time.process_time()
    times = measure_stages(one, 32, 0.05)
    spent = time.process_time() - started

    assert times.stages.whole * times.samples * times.passes <= spent * 1.5


def test_no_part_of_a_batch_s_way_is_left_out(tmp_path):
    """Large plain pictures: sending and finishing them is most of the work."""
    photos = ({"__key__": f"k{i}", "image": np.full((700, 700, 3), i, np.uint8)}
              for i in range(8))  # fmt: skip
    fiberaug.convert(photos, tmp_path / "set", progress=False)
    one = opened(str(tmp_path / "set"))
    run, (request,) = _Run(one, one.dataset.setup), one.requests(8)
    run._cost(request)
    started = time.process_time()
    cost = run._cost(request)
    spent = time.process_time() - started
    run.close()

    assert 0.96 * spent <= sum(cost[:3]) <= spent
    assert 0 < cost.received < cost.transport + cost.finish


def test_what_an_operation_burns_is_found_at_its_name(write_set):
    one = opened(write_set(40), [crop(), Burn()])
    costs = measure_operations(one, 40, 0.05)

    assert costs[0].name == "Burn"
    assert costs[0].applied == 1
    assert 0.003 <= costs[0].seconds < 0.02
    assert {cost.name for cost in costs} == {
        "Burn", "RandomResizedCrop", "HorizontalFlip",
    }  # fmt: skip
    flip = next(cost for cost in costs if cost.name == "HorizontalFlip")
    assert 0.1 < flip.applied < 0.9  # 40 draws at one half
    # And the stage has it, too.
    assert measure_stages(one, 40, 0.3).stages.augment >= 0.0025


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_s_images_are_whole_passes_over_the_rows(write_set, workers):
    one = opened(write_set(60), crop())
    asked, before = [], set(multiprocessing.active_children())
    (speed,) = measure_loaders(one, (workers,), lambda _: 28, 0.1, asked.append)

    assert asked == [workers] * ROUNDS
    assert speed.images % 28 == 0  # the epoch has 60
    assert speed.images >= 28 * ROUNDS
    assert speed.low <= speed.images_per_s <= speed.high
    assert speed.first_batch_s > 0
    assert (speed.worker_bytes is None) == (workers == 0)
    assert set(multiprocessing.active_children()) <= before


def test_all_measurements_look_at_the_same_rows(write_set):
    """The last of the epoch, as a loader delivers it."""
    one = opened(write_set(60), crop())
    dataset = fiberaug.StreamingDataset(one.dataset.shard_set.refs[0].path)
    assert dataset.num_samples < 60  # several shards
    keys = [key for batch in one.loader(0) for key in batch["__key__"]]

    places = [one.engine.find(*place) for place in zip(*_urls(one, 20), strict=True)]
    assert one.photos(20) == places
    assert keys[-20:] == _urls(one, 20)[1]
    assert [r.first for r in one.requests(20)] == [40, 48, 56]
    assert sum(r.global_batch for r in one.requests(20)) == 20


def _urls(one, rows):
    builder = one.builder()
    messages = [builder.build(request) for request in one.requests(rows)]
    packed = [p for message in messages for p in message.packed]
    return [p[1] for p in packed], [p[0] for p in packed]


def test_steps_wait_for_a_slow_pipeline_and_not_for_a_fast_one(write_set):
    shards = write_set(64)
    slow = measure_steps(opened(shards, [crop(), Burn()]), 0, 32, 0.001, 0.1)
    fast = measure_steps(opened(shards, crop()), 0, 32, 0.001, 0.1)

    assert slow.steps >= 3
    assert slow.wait_s >= 8 * 0.003  # without workers a step waits for its batch
    assert fast.wait_s < slow.wait_s


def test_kinds_of_photos_are_told_apart(folder, tmp_path):
    path = tmp_path / "one.jpg"
    made = partial(jpeg, path)
    pixels = [Image.fromarray(soft_noise(i, 90, 120)) for i in range(4)]
    files = {f"a{i}.jpg": made(p) for i, p in enumerate(pixels)}
    files |= {f"b{i}.jpg": made(p, progressive=True) for i, p in enumerate(pixels[:3])}
    files |= {"c.jpg": made(pixels[0].convert("CMYK"))}
    encoded = cv2.imencode(".png", np.asarray(pixels[0]))[1].tobytes()
    files |= {"d.png": encoded, "e.png": encoded}
    one = opened(folder(files))
    ceilings = measure_ceilings(one, 10, 0.1)

    shares = {kind.name: round(kind.share, 6) for kind in ceilings.kinds}
    assert shares == {
        "jpeg": 0.4, "progressive jpeg": 0.3, "png": 0.2, "CMYK jpeg": 0.1,
    }  # fmt: skip
    assert ceilings.photos == 10
    assert ceilings.pixels == 90 * 120
    assert ceilings.bytes == pytest.approx(
        np.mean([len(data) for data in files.values()]), abs=100
    )


def test_what_the_index_says_is_found(folder, tmp_path):
    path = tmp_path / "one.jpg"
    files = {
        f"a{i}.jpg": jpeg(path, Image.fromarray(soft_noise(i, 200, 300)))
        for i in range(8)
    }
    plain = folder(files)
    before = measure_ceilings(opened(plain), 8, 0.1)
    index_shards(plain, decode=True, progress=False)
    after = measure_ceilings(opened(plain), 8, 0.1)

    assert (before.known_sound, after.known_sound) == (0, 1)
    assert (before.seekable, after.seekable) == (0, 0)
    if turbo.available():
        marked = measure_ceilings(opened(folder(files, "s", seekable=True)), 8, 0.1)
        assert marked.seekable == 1


def test_broken_photos_are_counted_and_do_not_stop_it(folder, tmp_path):
    path = tmp_path / "one.jpg"
    files = {
        f"a{i}.jpg": jpeg(path, Image.fromarray(soft_noise(i, 90, 120)))
        for i in range(8)
    }
    files["a3.jpg"] = files["a3.jpg"][:-900]
    one = opened(folder(files), crop())

    assert measure_ceilings(one, 8, 0.1).broken == 1
    assert measure_ceilings(one, 8, 0.1).photos == 7
    assert measure_stages(one, 8, 0.05).failures == 1


@pytest.mark.skipif(not turbo.available(), reason=turbo.why_not())
def test_what_could_help_is_tried_and_leaves_nothing(folder, tmp_path, monkeypatch):
    """A small window of large photos: half and less of the work, both ways."""
    path, scratch = tmp_path / "one.jpg", tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    files = {
        f"a{i}.jpg": jpeg(path, Image.fromarray(soft_noise(i, 1500, 1200)))
        for i in range(4)
    }
    whole = A.Compose([A.RandomResizedCrop((32, 32), scale=(0.01, 0.02))])
    options = BenchOptions(
        shards=folder(files), recipe=whole, batch_size=4, progress=False
    )
    one = with_form(open_set(options))
    times, ceilings = measure_stages(one, 4, 0.05), measure_ceilings(one, 4, 0.1)
    trials = try_otherwise(one, options, times, ceilings, 0.05)

    assert times.stages.decode < 0.8 * times.first.decode  # a window is decoded
    assert trials.seekable.decode < 0.5 * trials.plain.decode
    assert trials.fast.decode < times.first.decode
    assert list(scratch.iterdir()) == []


def test_nothing_is_tried_where_decoding_is_no_matter(write_set):
    options = BenchOptions(
        shards=write_set(40), recipe=[crop(), Burn()], batch_size=8, progress=False
    )
    one = with_form(open_set(options))
    times, ceilings = measure_stages(one, 16, 0.05), measure_ceilings(one, 16, 0.1)

    assert try_otherwise(one, options, times, ceilings, 0.05) == Trials()


def test_shards_without_an_index_are_measured_from_their_start(write_set, tmp_path):
    shards = write_set(60)
    for side_car in (tmp_path / "set").glob("*.idx"):
        side_car.unlink()
    (tmp_path / "set/dataset.json").unlink()
    one = opened(shards, crop())

    assert one.rows is None
    assert [r.first for r in one.requests(20)] == [0, 8, 16]
    assert len(one.photos(1000)) == 60
    assert measure_stages(one, 20, 0.05).samples == 20
    for speed in measure_loaders(one, (0, 1), lambda _: 24, 0.05):
        assert speed.images >= 24 * ROUNDS
        assert speed.images % 24 == 0


def test_photos_of_several_sizes_and_tiles(write_set, tmp_path):
    folder = tmp_path / "photos/one"
    folder.mkdir(parents=True)
    for i in range(12):
        Image.fromarray(photo(i, 40 + i, 60)).save(folder / f"p{i:02d}.jpg")
    ragged = opened(str(folder.parent))
    assert ragged.mode == "list"
    assert measure_stages(ragged, 12, 0.05).samples == 12

    tiled = opened(str(folder.parent), tile=(24, 24))
    assert tiled.mode == "stack"
    assert tiled.rows > 12
    assert len(tiled.photos(10**6)) == 12
    assert measure_stages(tiled, 16, 0.05).out_pixels == 24 * 24


def test_a_remote_set_says_what_its_store_delivers(write_set, tmp_path):
    write_set(60, shard_size="40kB")
    with HttpFolder(tmp_path / "set") as server:
        urls = [f"{server.url}/{p.name}" for p in (tmp_path / "set").glob("*.tar")]
        one = open_set(BenchOptions(shards=urls, cache_dir=tmp_path / "cache"))
        ceilings = measure_ceilings(one, 60, 1.0)
        again = measure_ceilings(one, 60, 1.0)

    size = sum(ref.bytes for ref in one.dataset.setup.refs) / 60
    if ceilings.store_bytes_per_s is not None:  # loopback can be too fast to time
        assert ceilings.first_read >= size / ceilings.store_bytes_per_s / 2
    assert again.store_bytes_per_s is None
    assert again.bytes == ceilings.bytes


def test_a_store_that_answers_late_is_told_by_its_rate(write_set, tmp_path):
    """The first shards stop in the middle for a while."""
    write_set(60, shard_size="40kB")
    with HttpFolder(tmp_path / "set") as server:
        one = open_set(BenchOptions(shards=server.url, cache_dir=tmp_path / "cache"))
        server.hold.clear()
        threading.Timer(0.3, server.hold.set).start()
        ceilings = measure_ceilings(one, 60, 1.0)

    size = sum(ref.bytes for ref in one.dataset.setup.refs)
    assert 0 < ceilings.store_bytes_per_s < size / 0.25
    assert ceilings.first_read >= 0.25 / 60


def test_a_pass_is_as_long_as_it_is_asked_to_be(write_set):
    one = opened(write_set(60), [crop(), Burn()])

    assert samples_for(one, 1e-6) == 8  # a batch at least
    assert 8 <= samples_for(one, 0.1) <= 40  # 3 ms each


def test_opencv_keeps_its_threads(write_set):
    before = cv2.getNumThreads()
    measure_stages(opened(write_set(20), crop()), 8, 0.01)

    assert cv2.getNumThreads() == before
