"""Pictures of a training are of the same seeds, and at the same images, always."""

import numpy as np
import pytest
from PIL import Image
from watched import ROWS, Photographs, go, view_of

from fiberaug.errors import UsageError
from fiberaug.training.grids import Grids, picture_of
from fiberaug.training.pace import Pace
from fiberaug.training.tiles import Row, columns_of, lay_out


def trained(view, until, every=ROWS * 5):
    grids = Grids(every=every)
    grids.begin(view)
    go(view, [grids], until)
    grids.end(view)
    return grids


def pixels(path):
    with Image.open(path) as picture:
        return np.asarray(picture)


def test_pictures_come_at_the_begin_at_each_interval_and_at_the_end(tmp_path):
    view = view_of(tmp_path / "a", steps=18)
    trained(view, 18)
    found = sorted(path.name for path in (tmp_path / "a" / "samples").iterdir())

    assert found == [f"{n * ROWS:09d}.png" for n in (0, 5, 10, 15, 18)] + ["real.png"]
    latest = tmp_path / "a" / "samples.png"
    assert latest.read_bytes() == picture_of(view.out, 18 * ROWS).read_bytes()


def test_pictures_of_a_training_that_went_on_are_those_of_an_unbroken_one(tmp_path):
    view = view_of(tmp_path / "a", steps=18)
    trained(view, 18)
    view = view_of(tmp_path / "b", steps=18)
    state = trained(view, 7).state_dict()
    other = view_of(tmp_path / "b", steps=18)
    other.step, other.nimg = view.step, view.nimg
    grids = Grids(every=ROWS * 5)
    grids.load_state_dict(state)
    grids.begin(other)
    go(other, [grids], 12)
    other.step, other.nimg = 9, 9 * ROWS  # it goes back
    grids.load_state_dict(state)
    go(other, [grids], 18)

    one, two = (
        {path.name: path.read_bytes() for path in (tmp_path / name).rglob("*.png")}
        for name in "ab"
    )
    assert one == two


def test_a_column_is_a_seed_and_a_row_a_class(tmp_path):
    view = view_of(tmp_path / "a")
    trained(view, 20)
    calls = view.task.asked
    seeds, labels, places = calls[0]
    columns = columns_of(view.source.size)

    assert all(call == calls[0] for call in calls)
    assert labels == [0] * columns + [1] * columns + [2] * columns
    assert seeds == list(range(columns)) * 3
    assert places is None


def test_few_classes_have_several_rows_and_other_seeds_in_each(tmp_path):
    view = view_of(tmp_path / "a", source=Photographs(("end", "side")))
    trained(view, 1)
    seeds, labels, _ = view.task.asked[0]
    columns = columns_of(view.source.size)
    assert labels == [0] * 2 * columns + [1] * 2 * columns
    assert seeds == list(range(2 * columns)) * 2


def test_without_classes_all_seeds_differ_and_labels_are_zero(tmp_path):
    view = view_of(tmp_path / "a", source=Photographs(()))
    trained(view, 1)
    seeds, labels, _ = view.task.asked[0]
    assert len(set(seeds)) == len(seeds) == columns_of(view.source.size) ** 2
    assert set(labels) == {0}


@pytest.mark.parametrize("classes", [("end", "side", "tip"), ()])
def test_windows_lie_where_those_of_photos_of_the_class_lie(tmp_path, classes):
    source = Photographs(classes, has_places=True)
    view = view_of(tmp_path / "a", source=source)
    trained(view, 1)
    _, labels, places = view.task.asked[0]
    photos = source.reference(source.photos)

    assert places.shape == (len(labels), 3)
    assert places.dtype == np.float32
    for label, place in zip(labels, places, strict=True):
        there = photos.places if not classes else photos.places[photos.labels == label]
        assert any((place == one).all() for one in there)


def test_more_classes_than_rows_are_said_to_be_there(tmp_path):
    view = view_of(tmp_path / "a", source=Photographs(tuple("abcdefghijklmn")))
    trained(view, 1)
    assert sorted(set(view.task.asked[0][1])) == list(range(10))


@pytest.mark.parametrize("classes", [("a", "b"), ("a", "b", "c", "d"), ()])
def test_photos_are_shown_once_each_in_the_rows_of_their_class(tmp_path, classes):
    source = Photographs(classes)
    trained(view_of(tmp_path / "a", source=source), 1)
    columns = columns_of(source.size)
    sheet = pixels(tmp_path / "a" / "samples" / "real.png")
    photos = source.reference(source.photos)
    height, width = (4 * side for side in source.size)
    left = sheet.shape[1] - columns * (width + 4)
    rows = range(30, sheet.shape[0] - height, height + 4)
    found = []
    for top in rows:
        for x in range(left, sheet.shape[1] - width, width + 4):
            tile = sheet[top : top + height : 4, x : x + width : 4]
            same = (photos.images == tile).all((1, 2, 3))
            found.append(np.flatnonzero(same).tolist())

    there = [one for some in found for one in some]
    assert len(set(there)) == len(there) > 20
    order = photos.labels[there] if classes else np.asarray(there)
    assert (np.diff(order) >= 0).all()


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(5, 4), (28, 28), (96, 128), (300, 600)])
def test_tiles_show_images_of_any_size_and_channels(size, channels):
    columns = columns_of(size)
    images = [np.full((*size, channels), 10 * n, np.uint8) for n in range(columns - 1)]
    rows = [Row("first", images), Row("a name that is far too long for it", images)]
    sheet = np.asarray(lay_out(rows, size=size, columns=columns, title="generated"))

    assert 360 <= sheet.shape[1] <= 1400
    for level in range(0, 10 * (columns - 1), 10):
        found = (sheet == level).all(2).sum()
        assert found >= 2 * min(size[0] * size[1], 128 * 256)


def test_small_images_are_enlarged_pixel_by_pixel():
    image = np.random.default_rng(0).integers(0, 256, (8, 16, 3)).astype(np.uint8)
    sheet = lay_out([Row("", [image])], size=(8, 16), columns=4, title="")
    tile = np.asarray(sheet)[30:, 4:][:32, :64]
    assert (tile.reshape(8, 4, 16, 4, 3) == image[:, None, :, None]).all()


def test_large_images_are_made_smaller_by_averages():
    image = np.indices((512, 512)).sum(0).astype(np.uint8)[..., None] % 2 * 254
    sheet = lay_out([Row("", [image])], size=(512, 512), columns=4, title="")
    assert (np.asarray(sheet)[30:286, 4:260] == 127).all()


def test_pace_is_counted_in_images_and_always_ends_with_one(tmp_path):
    def times(pace, rows, total):
        view = view_of(tmp_path / "a")
        view.total, found = total, []
        assert not pace.due(view)
        while view.nimg < total:
            view.step, view.nimg = view.step + 1, view.nimg + rows
            if pace.due(view):
                found.append(view.nimg)
        return found

    assert times(Pace(100), 64, 400) == [128, 256, 320, 448]
    assert times(Pace(64), 64, 192) == [64, 128, 192]
    assert times(Pace(10), 64, 130) == [64, 128, 192]
    assert times(Pace(times=4), 10, 200) == [50, 100, 150, 200]
    assert times(Pace(times=40, least=100), 10, 250) == [100, 200, 250]


@pytest.mark.parametrize("options", [{"every": 0}, {"every": 1.5}, {"seed": -1}])
def test_a_number_out_of_range_is_refused(options):
    with pytest.raises(UsageError, match=next(iter(options))):
        Grids(**options)
