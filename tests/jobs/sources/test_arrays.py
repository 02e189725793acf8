"""Laws of NumPy arrays: every pixel, byte and label arrives, or the error says why."""

import io
import json
import os
import pickle
import tarfile
import zipfile

import cv2
import numpy as np
import pytest
from conversions import converted, streamed
from hypothesis import given, settings
from hypothesis import strategies as st
from sets import DATA, photo

from fiberaug.errors import DataRefused, StoreError, UsageError
from fiberaug.jobs.encoding import encode_image
from fiberaug.jobs.sources.arrays import list_arrays, looks_like_arrays
from fiberaug.jobs.sources.options import SourceOptions

real = [
    pytest.mark.data,
    pytest.mark.skipif(not DATA.is_dir(), reason="FIBERAUG_DATA names no folder"),
]


def noise(*shape):
    return np.random.default_rng(len(shape)).integers(0, 256, shape, np.uint8)


def saved(path, *, compressed=True, **arrays):
    (np.savez_compressed if compressed else np.savez)(path, **arrays)
    return path


def listed(path, **options):
    return list_arrays(path, SourceOptions(**options))


def members(folder):
    """Members of all samples, by key."""
    found = {}
    for shard in sorted(folder.glob("*.tar")):
        with tarfile.open(shard) as tar:
            for info in tar:
                key, extension = info.name.split(".", 1)
                found.setdefault(key, {})[extension] = tar.extractfile(info).read()
    return found


def upright(sample):
    """[H, W, C] of a streamed sample."""
    return np.asarray(sample["image"]).transpose(1, 2, 0)


def pixels(sample):
    return cv2.imdecode(np.frombuffer(sample["png"], np.uint8), cv2.IMREAD_UNCHANGED)


@pytest.mark.parametrize("compressed", [True, False])
def test_parts_of_a_file_become_parts_of_the_keys(tmp_path, compressed):
    x, y, x2 = noise(5, 8, 9), np.array([3, 0, 1, 3, 2]), noise(2, 8, 9)
    path = saved(
        tmp_path / "m.npz", compressed=compressed, train_x=x, train_y=y, test_x=x2,
        test_y=np.array([2, 1], np.uint8), classes=np.array([*"abcd"]),
    )  # fmt: skip
    found = listed(path)

    assert found.classes == ("a", "b", "c", "d")
    assert "7 images" in found.said
    converted(found, tmp_path / "out")
    samples = streamed(tmp_path / "out")
    assert [*samples] == [f"train/{i:06d}" for i in range(5)] + [
        f"test/{i:06d}" for i in range(2)
    ]
    for key, sample in samples.items():
        part, i = key.split("/")
        images, labels = (x, y) if part == "train" else (x2, [2, 1])
        assert (upright(sample) == images[int(i)][..., None]).all()
        assert sample["label"] == labels[int(i)]
    told = {json.loads(m["json"])["part"] for m in members(tmp_path / "out").values()}
    assert told == {"train", "test"}


@given(
    st.sampled_from([(), (1,), (3,), (4,)]),
    st.tuples(st.integers(1, 4), st.integers(5, 20), st.integers(5, 20)),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["C", "F"]),
)
@settings(max_examples=25, deadline=None)
def test_pixels_of_any_layout_arrive_as_they_are(
    tmp_path_factory, channels, shape, first, compressed, order
):
    tmp_path = tmp_path_factory.mktemp("a")
    images = noise(*shape, *channels)
    stored = np.moveaxis(images, -1, 1) if channels and first else images
    saved(tmp_path / "a.npz", compressed=compressed, x=np.asarray(stored, order=order))

    converted(listed(tmp_path / "a.npz"), tmp_path / "out")

    found = members(tmp_path / "out")
    assert [*found] == [f"{i:06d}" for i in range(len(images))]
    for i, sample in enumerate(found.values()):
        assert [*sample] == ["png"]
        image = pixels(sample)
        if channels == (3,):
            image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        elif channels == (4,):
            image = cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA)
        assert (image.reshape(images[i].shape) == images[i]).all()


def test_transparency_is_read_back(tmp_path):
    images = noise(2, 6, 7, 4)
    converted(listed(saved(tmp_path / "a.npz", x=images)), tmp_path / "out")

    for i, sample in enumerate(
        streamed(tmp_path / "out", decode={"color": "keep"}).values()
    ):
        assert (upright(sample) == images[i]).all()


def test_files_end_to_end_stay_the_same_bytes(tmp_path):
    files = [encode_image(photo(i), "jpeg" if i % 2 else "png") for i in range(5)]
    saved(tmp_path / "a.npz", train_bytes=np.frombuffer(b"".join(files), np.uint8),
          train_off=np.cumsum([0, *map(len, files)]), train_y=np.arange(5))  # fmt: skip
    found = listed(tmp_path / "a.npz")

    assert [item.size for item in found.items] == [*map(len, files)]
    converted(found, tmp_path / "out")
    stored = members(tmp_path / "out").values()
    assert [m.get("png") or m["jpg"] for m in stored] == files
    assert [m["cls"] for m in stored] == [b"0", b"1", b"2", b"3", b"4"]


@pytest.mark.parametrize(
    ("offsets", "match"),
    [
        ([0, 3], "runs from 0 to 3; offsets rise from 0 to the 4 bytes"),
        ([1, 4], "runs from 1"),
        ([0, 9], "runs from 0 to 9"),
        ([0, 3, 2, 4], "offsets rise"),
        ([], "has no image"),
        ([0.0, 4.0], "offsets are whole numbers"),
    ],
)
def test_offsets_that_lose_bytes_are_refused(tmp_path, offsets, match):
    kind = np.array(offsets).dtype if offsets else np.int64
    path = saved(tmp_path / "a.npz", bytes=noise(4), off=np.array(offsets or [0], kind))
    with pytest.raises(DataRefused, match=match):
        listed(path)


@pytest.mark.parametrize(
    ("labels", "field", "stored"),
    [
        (np.array([1, -1, 2], np.int8), "cls", [1, -1, 2]),
        (np.array([[1], [0], [2]], np.uint8), "cls", [1, 0, 2]),
        (np.array([True, False, True]), "cls", [1, 0, 1]),
        (np.array([0.5, -1.25, 3], np.float32), "cls", [0.5, -1.25, 3.0]),
        (np.array([[0.5, 1], [0, 0], [1, 1]], np.float32), "json:label",
         [[0.5, 1], [0, 0], [1, 1]]),
        (np.array([[1, 0], [0, 1], [1, 1]]), "json:label", [[1, 0], [0, 1], [1, 1]]),
        (np.array(["cat", "ant", "cat"]), "cls", [1, 0, 1]),
        (np.array([b"cat", b"ant", b"cat"]), "cls", [1, 0, 1]),
    ],
    ids=["signed", "column", "bool", "float", "vector", "several", "text", "bytes"],
)  # fmt: skip
def test_labels_of_any_kind_arrive(tmp_path, labels, field, stored):
    found = listed(saved(tmp_path / "a.npz", images=noise(3, 6, 7), labels=labels))
    assert found.fields == {"label": field}

    converted(found, tmp_path / "out")

    samples = streamed(tmp_path / "out").values()
    assert [np.asarray(s["label"]).tolist() for s in samples] == stored


def test_numbers_and_text_of_each_row_stand_in_the_json(tmp_path):
    path = saved(
        tmp_path / "a.npz", x=noise(2, 6, 7), y=[0, 1], age=np.array([1.5, np.nan]),
        count=[[7], [8]], site=["Zürich", "b"], z=np.zeros((2, 512), np.float32),
    )  # fmt: skip
    found = listed(path)

    assert "left out: z float32 [2, 512]" in found.said
    converted(found, tmp_path / "out")
    one, other = members(tmp_path / "out").values()
    assert json.loads(one["json"]) == {"age": 1.5, "count": 7, "site": "Zürich"}
    assert json.loads(other["json"]) == {"age": None, "count": 8, "site": "b"}


def test_masks_are_class_ids_of_each_pixel(tmp_path):
    images, masks = noise(3, 6, 7, 3), noise(3, 6, 7) % 4
    found = listed(saved(tmp_path / "a.npz", images=images, masks=masks))
    converted(found, tmp_path / "out")

    for i, sample in enumerate(streamed(tmp_path / "out").values()):
        assert (sample["mask"] == masks[i]).all()
    with pytest.raises(DataRefused, match=r"masks is uint8 \[3, 6\]"):
        listed(saved(tmp_path / "b.npz", images=images, masks=masks[..., 0]))


@pytest.mark.parametrize(
    ("names", "key", "label"),
    [
        (("x_train", "y_train"), "train/000000", "y_train"),
        (("train_images", "train_labels"), "train/000000", "train_labels"),
        (("X", "Y"), "000000", "Y"),
        (("Val-x", "Val-target"), "val/000000", "Val-target"),
        (("data", "targets"), "000000", "targets"),
    ],
)
def test_usual_names_are_understood(tmp_path, names, key, label):
    path = saved(
        tmp_path / "a.npz",
        **{names[0]: noise(1, 6, 7, 3), names[1]: np.array([5])},
    )
    (item,) = listed(path).items
    assert (item.key, item.label) == (key, 5)
    assert repr(listed(path).reader).count(label) == 1


def test_files_of_single_arrays_and_a_folder_of_them_are_sources(tmp_path):
    images = noise(3, 6, 7)
    np.save(tmp_path / "photos.npy", images)
    np.save(tmp_path / "labels.npy", [2, 1, 0])

    alone = listed(tmp_path / "photos.npy")
    both = listed(tmp_path)
    assert [item.label for item in alone.items] == [None] * 3
    assert [item.label for item in both.items] == [2, 1, 0]
    converted(both, tmp_path / "out")
    for i, sample in enumerate(members(tmp_path / "out").values()):
        assert (pixels(sample) == images[i]).all()


def test_given_class_names_set_the_ids_of_text_and_bound_those_of_numbers(tmp_path):
    text = saved(tmp_path / "a.npz", x=noise(2, 6, 7), y=["cat", "ant"])
    ids = saved(tmp_path / "b.npz", x=noise(2, 6, 7), y=[0, 2])

    assert [i.label for i in listed(text, classes=["cat", "bee", "ant"]).items] == [
        0,
        2,
    ]
    with pytest.raises(UsageError, match=r"\['ant'\] are none of the classes"):
        listed(text, classes=["cat"])
    assert listed(ids, classes=[*"abc"]).classes == ("a", "b", "c")
    with pytest.raises(DataRefused, match=r"y\[1\] is 2; class ids are from 0 to 1"):
        listed(ids, classes=[*"ab"])


@pytest.mark.parametrize(
    ("images", "match"),
    [
        (np.zeros((2, 6, 7), np.float32), r"float32.*\(x \* 255\)\.round\(\)"),
        (np.zeros((2, 6, 7), np.uint16), "uint16.*scaled to 0 to 255"),
        (np.zeros((2, 6, 7), bool), "bool.*255"),
        (np.zeros((2, 42), np.uint8), r"\[2, 42\].*reshape"),
        (np.zeros((6, 7, 3), np.uint8), r"\[6, 7, 3\].*one image x to x\[None\]"),
        (np.zeros((2, 6, 7, 5), np.uint8), "C of 1, 3 or 4"),
        (np.zeros((2, 6, 0), np.uint8), "images are"),
        (np.zeros((0, 6, 7), np.uint8), "has no image"),
    ],
    ids=["float", "16bit", "bool", "flat", "one", "five", "empty", "none"],
)
def test_arrays_that_are_no_images_are_refused_with_the_remedy(tmp_path, images, match):
    with pytest.raises(DataRefused, match=match):
        listed(saved(tmp_path / "a.npz", x=images))


def test_what_cannot_be_told_is_asked_for(tmp_path):
    path = saved(tmp_path / "a.npz", x=noise(2, 3, 7, 3), a=[1, 2])
    with pytest.raises(UsageError, match="nhwc"):
        listed(path)
    nchw = listed(path, columns={"layout": "nchw", "label": "a"})
    assert "'chw'" in repr(nchw.reader)
    assert [item.label for item in nchw.items] == [1, 2]
    with pytest.raises(UsageError, match=r"layout must be nhwc or nchw"):
        listed(path, columns={"layout": "hw"})
    with pytest.raises(UsageError, match=r"columns of arrays are .* got \['boxes'\]"):
        listed(path, columns={"boxes": "b"})
    with pytest.raises(UsageError, match=r"names? the array 'q' as label"):
        listed(path, columns={"label": "q", "layout": "nchw"})
    two = saved(tmp_path / "b.npz", left=noise(2, 6, 7), right=noise(2, 6, 7))
    with pytest.raises(UsageError, match=r"\['left', 'right'\] could all be"):
        listed(two)
    assert listed(two, columns={"image": "right"}).items[0].place == "right[0]"
    with pytest.raises(UsageError, match=r"could all be the label"):
        listed(saved(tmp_path / "c.npz", x=noise(2, 6, 7), y=[1, 2], label=[0, 1]))


def test_arrays_of_other_lengths_are_refused(tmp_path):
    with pytest.raises(DataRefused, match=r"y is int64 \[3\], and x has 2 images"):
        listed(saved(tmp_path / "a.npz", x=noise(2, 6, 7), y=[1, 2, 3]))
    with pytest.raises(DataRefused, match="the part 'test' has no array of images"):
        listed(saved(tmp_path / "b.npz", train_x=noise(2, 6, 7), test_y=[1]))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_labels_that_are_no_numbers_are_refused(tmp_path, value):
    with pytest.raises(DataRefused, match=r"y\[1\] is (nan|inf); labels are finite"):
        listed(saved(tmp_path / "a.npz", x=noise(2, 6, 7), y=[1.0, value]))


def test_python_objects_are_never_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)

    trap = np.array([Trap(), None], object)
    np.savez(tmp_path / "a.npz", x=noise(2, 6, 7), y=trap)
    np.save(tmp_path / "x.npy", trap, allow_pickle=True)
    for path in (tmp_path / "a.npz", tmp_path / "x.npy"):
        with pytest.raises(DataRefused, match="holds Python objects"):
            listed(path)
    assert not (tmp_path / "sprung").exists()


def test_a_header_that_says_more_than_there_is_takes_no_memory(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": (2**40, 28, 28)}
    )
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", header.getvalue())
    (tmp_path / "x.npy").write_bytes(header.getvalue())

    for path in (tmp_path / "a.npz", tmp_path / "x.npy"):
        with pytest.raises(DataRefused, match="cannot be read"):
            listed(path)


@pytest.mark.parametrize("compressed", [True, False])
def test_a_flipped_bit_in_an_archive_is_seen(tmp_path, compressed):
    path = saved(tmp_path / "a.npz", compressed=compressed, x=noise(40, 16, 16))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)

    with pytest.raises(DataRefused, match=r"the array 'x' of .* cannot be read"):
        converted(listed(path), tmp_path / "out")


def test_a_cut_or_foreign_file_is_one_error(tmp_path):
    path = saved(tmp_path / "a.npz", x=noise(40, 16, 16))
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataRefused, match=r"a\.npz cannot be read"):
        listed(path)
    with pytest.raises(UsageError, match=r"no \.npz, no \.npy"):
        listed(tmp_path / "a.txt")
    with pytest.raises(StoreError, match="cannot read"):
        listed(tmp_path / "gone.npz")


def test_the_reader_can_be_sent_and_changes_with_the_content(tmp_path):
    one = listed(saved(tmp_path / "a.npz", x=noise(2, 6, 7)))
    (tmp_path / "b").mkdir()
    moved = listed(saved(tmp_path / "b" / "a.npz", x=noise(2, 6, 7)))
    other = listed(saved(tmp_path / "c.npz", x=255 - noise(2, 6, 7)))

    assert repr(one.reader) == repr(moved.reader) != repr(other.reader)
    sent = pickle.loads(pickle.dumps(one.reader))
    assert sent(one.items[1]) == one.reader(one.items[1])


def test_only_arrays_look_like_arrays(tmp_path):
    path = saved(tmp_path / "a.npz", x=noise(1, 6, 7))
    folder = tmp_path / "folder"
    folder.mkdir()
    assert not looks_like_arrays(folder)
    np.save(folder / "x.npy", noise(1, 6, 7))
    assert looks_like_arrays(path)
    assert looks_like_arrays(folder)
    (folder / "a.jpg").write_bytes(b"")
    assert not looks_like_arrays(folder)
    assert not looks_like_arrays(tmp_path / "a.tar")


class TestRealData:
    pytestmark = real

    def test_digits_of_mnist_are_the_same_pixels(self, tmp_path):
        with np.load(DATA / "mnist28.npz") as arrays:
            part = {
                name: arrays[name][::400] for name in arrays.files if name != "classes"
            }
            names = arrays["classes"]
        found = listed(saved(tmp_path / "m.npz", **part, classes=names))
        converted(found, tmp_path / "out")

        samples = streamed(tmp_path / "out")
        assert len(samples) == 175
        for key, sample in samples.items():
            name, i = key.split("/")
            assert (upright(sample) == part[f"{name}_x"][int(i)][..., None]).all()
            assert sample["label"] == part[f"{name}_y"][int(i)]

    def test_jpegs_of_cifar_are_the_same_bytes(self):
        found = listed(DATA / "cifar10_jpeg.npz")
        assert (len(found.items), len(found.classes)) == (60_000, 10)
        assert found.classes[3] == "cat"
        with np.load(DATA / "cifar10_jpeg.npz") as arrays:
            files, offsets = arrays["test_bytes"], arrays["test_off"]
            labels = arrays["test_y"]
        for i in range(0, 10_000, 100):
            item = found.items[50_000 + i]
            data = files[offsets[i] : offsets[i + 1]].tobytes()
            assert found.reader(item).image == data
            assert (item.key, item.label) == (f"test/{i:06d}", labels[i])
