"""Laws of photos in files: one order for any number of workers and ranks."""

import json
from pathlib import Path

import albumentations as A
import numpy as np
import pytest
import torch
from feeds import assert_same, stamped, take
from plainsets import png, put
from sets import cut_jpeg, photo, samples
from tars import shard

import fiberaug
from fiberaug.errors import DataRefused, StateMismatch, UsageError
from fiberaug.jobs.encoding import encode_image
from fiberaug.jobs.indexing import index_shards
from fiberaug.training.feeding import open_source


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def opened(data, **options):
    return open_source(data, **{"size": (20, 24), "batch_size": 6} | options)


def levels(count: int):
    """Samples of one gray level each, which tells their number."""
    for i, image in enumerate(stamped(count)):
        yield {"__key__": f"k{i:03d}", "image": image[..., 0], "label": i % 3}


@pytest.mark.parametrize("windows", [False, True])
def test_batches_are_the_same_for_any_number_of_workers_and_ranks(
    write_set, windows
) -> None:
    data, options = write_set(23), {"windows": windows, "flip": True}
    alone = opened(data, **options)
    expected = take(alone, 6)
    assert alone.has_places == windows
    with_workers = opened(data, num_workers=2, **options)
    assert_same(expected, take(with_workers, 6))
    with_workers.close()
    ranks = [take(opened(data, rank=r, world_size=3, **options), 6) for r in range(3)]
    for whole, *parts in zip(expected, *ranks, strict=True):
        assert torch.equal(whole.images, torch.cat([part.images for part in parts]))
        assert torch.equal(whole.labels, torch.cat([part.labels for part in parts]))


@pytest.mark.parametrize("batch", [4, 7, 50])
def test_every_photo_comes_once_in_each_pass_whatever_the_batch(
    write_set, batch
) -> None:
    data = write_set(levels(21))
    source = opened(data, size=(8, 8), channels=1, batch_size=batch)
    found = take(source, -(-63 // batch))
    rows = torch.cat([b.images[:, 0, 0, 0] for b in found])[:63]
    numbers = ((rows + 1) * 127.5).round().int().view(3, 21)
    wanted = torch.arange(21, dtype=torch.int32).expand(3, 21)
    assert torch.equal(numbers.sort(dim=1).values, wanted)


def test_a_resumed_source_goes_on_as_if_it_had_never_ended(write_set) -> None:
    data = write_set(23)
    options = {"windows": True, "flip": True}
    through = take(opened(data, **options), 9)
    first = opened(data, num_workers=2, **options)
    before = take(first, 5)
    state = json.loads(json.dumps(first.state_dict()))
    first.close()
    second = opened(data, **options)
    second.load_state_dict(state)
    assert_same(through, before + take(second, 4))


def test_batches_asked_for_again_go_on(write_set) -> None:
    data = write_set(23)
    source = opened(data)
    assert_same(take(opened(data), 4), take(source, 2) + take(source, 2))


def test_a_state_of_other_data_or_another_cut_is_refused(write_set) -> None:
    data = write_set(23)
    state = opened(data).state_dict()
    with pytest.raises(StateMismatch, match="fingerprint"):
        opened(write_set(24, name="other")).load_state_dict(state)
    with pytest.raises(StateMismatch, match="recipe"):
        opened(data, size=(8, 8)).load_state_dict(state)
    arrays = open_source(stamped(4), size=(8, 8), channels=1, batch_size=2)
    with pytest.raises(StateMismatch, match="arrays"):
        opened(data).load_state_dict(arrays.state_dict())


def test_photos_that_are_held_out_are_never_dealt_and_stay_the_same(write_set) -> None:
    data = write_set(240)
    source = opened(data, size=(40, 48), held_out=0.25, batch_size=20)
    held = source.reference(500, held_out=True)
    assert 30 < len(held.images) < 90
    assert source.photos == 240 - len(held.images)
    dealt = {
        row.permute(1, 2, 0).numpy().tobytes()
        for batch in take(source, 24)
        for row in ((batch.images + 1) * 127.5).round().byte()
    }
    assert not dealt & {image.tobytes() for image in held.images}
    again = opened(data, size=(40, 48), held_out=0.25, seed=9)
    np.testing.assert_array_equal(
        held.images, again.reference(500, held_out=True).images
    )
    assert len(again.reference(500).images) == again.photos


def test_parts_of_a_conversion_are_kept_apart(tmp_path) -> None:
    for i in range(240):
        put(tmp_path / "in" / f"{i}.png", png(photo(i)))
    fiberaug.convert(
        tmp_path / "in", tmp_path / "set", split="train=0.7,val=0.2,test=0.1",
        progress=False,
    )  # fmt: skip
    source = opened(str(tmp_path / "set"), size=(40, 48))
    train, val = (
        fiberaug.StreamingDataset(tmp_path / "set", split=part).num_samples
        for part in ("train", "val")
    )
    held = source.reference(500, held_out=True).images
    assert (source.photos, len(held)) == (train, val)
    dealt = {image.tobytes() for image in source.reference(500).images}
    assert len(dealt) == train
    assert not dealt & {image.tobytes() for image in held}


def test_a_data_set_of_ones_own_is_read_as_it_says(write_set) -> None:
    data = write_set(250)
    own = fiberaug.StreamingDataset(
        data, transform=A.Compose([A.InvertImg(p=1)]), subset="label < 2"
    )
    inverted, plain = opened(own, held_out=0.2), opened(data, held_out=0)
    assert inverted.classes == ("0", "1")
    held = inverted.reference(500, held_out=True)
    assert inverted.photos + len(held.images) == 126
    there = {image.tobytes() for image in plain.reference(500).images}
    assert {(255 - image).tobytes() for image in held.images} <= there


def test_fields_beside_image_and_label_may_be_there(write_set) -> None:
    def boxed(i: int):
        return {"bboxes": [[2, 3, 20, 30]], "bbox_labels": [1], "caption": f"a {i}"}

    content = [
        {"__key__": f"k{i}", "image": photo(i, 40 + i, 48), "label": 0}
        | {"mask": np.full((40 + i, 48), i % 3, np.uint8)}
        | boxed(i)
        for i in range(12)
    ]
    data = write_set(iter(content))
    assert take(opened(data), 1)[0].images.shape == (6, 3, 20, 24)
    flipped = fiberaug.StreamingDataset(data, transform=A.HorizontalFlip(p=1))
    assert take(opened(flipped), 1)[0].images.shape == (6, 3, 20, 24)


def test_shards_without_an_index_get_one_in_the_cache(
    write_set, tmp_path, own_cache
) -> None:
    data = Path(write_set(23))
    bare = tmp_path / "bare"
    bare.mkdir()
    for file in data.glob("*.tar"):
        (bare / file.name).write_bytes(file.read_bytes())
    found = opened(str(bare))
    assert_same(take(opened(str(data)), 5), take(found, 5))
    assert not list(bare.glob("*.idx"))
    assert list(own_cache.rglob("*.idx"))
    own = fiberaug.StreamingDataset(bare)
    assert_same(take(opened(str(data)), 5), take(opened(own), 5))


def test_references_are_spread_over_the_classes_and_never_mirrored(write_set) -> None:
    data = write_set(40)
    first = opened(data, size=(40, 48), flip=True).reference(8)
    second = opened(data, size=(40, 48), seed=3).reference(8)
    np.testing.assert_array_equal(first.images, second.images)
    assert np.bincount(first.labels).tolist() == [2, 2, 2, 2]
    whole = {photo(i).tobytes() for i in range(40)}
    exact = {image.tobytes() for image in first.images}
    assert len(exact) == 8
    assert exact <= whole


def test_large_photos_are_cut_into_windows_and_others_are_not(tmp_path) -> None:
    big = ({"__key__": f"b{i}", "image": photo(i, 1000, 1200)} for i in range(3))
    fiberaug.convert(big, tmp_path / "big", progress=False)
    source = opened(str(tmp_path / "big"))
    assert source.has_places
    (batch,) = take(source, 1)
    assert batch.labels is None
    assert batch.places[:, 2].max() <= np.log2(50) + 0.01
    assert not opened(str(tmp_path / "big"), windows=False).has_places
    found = source.reference(10)
    assert found.images.shape == (10, 20, 24, 3)
    assert found.places.shape == (10, 3)
    bounded = opened(str(tmp_path / "big"), scales=(2, 4))
    places = take(bounded, 3)[0].places[:, 2]
    assert ((places > 0.97) & (places < 2.03)).all()


def test_a_photo_that_breaks_has_a_stand_in_and_is_left_out_of_figures(
    tmp_path, caplog
) -> None:
    members = [
        (f"k{i}.{extension}", data)
        for i in range(8)
        for extension, data in (("jpg", encode_image(photo(i, 120, 160), "jpeg")),
                                ("cls", b"%d" % (i % 2)))
    ]  # fmt: skip
    members += [("x.jpg", cut_jpeg(9)), ("x.cls", b"0")]
    source = opened(str(shard(tmp_path / "s.tar", members)), batch_size=9)
    assert len(source.reference(9).images) == 8
    assert "left out of figures" in caplog.text
    assert [len(batch.images) for batch in take(source, 3)] == [9, 9, 9]


def test_gray_is_read_where_one_channel_is_asked_for(write_set) -> None:
    source = opened(write_set(12), channels=1)
    assert take(source, 1)[0].images.shape == (6, 1, 20, 24)
    assert source.reference(3).images.shape == (3, 20, 24, 1)


def test_names_of_classes_come_from_the_data(tmp_path) -> None:
    for i in range(8):
        put(tmp_path / "in" / ("cat", "dog")[i % 2] / f"{i}.png", png(photo(i)))
    fiberaug.convert(tmp_path / "in", tmp_path / "set", progress=False)
    source = opened(str(tmp_path / "set"))
    assert source.classes == ("cat", "dog")
    assert source.describe()["counts"] == [4, 4]
    assert opened(str(tmp_path / "in")).classes == ("cat", "dog")
    assert opened(str(tmp_path / "set"), conditional=False).classes == ()


def test_a_label_that_is_not_the_indexs_is_refused(tmp_path) -> None:
    members = []
    for i in range(4):
        members += [(f"k{i}.png", png(photo(i))), (f"k{i}.json", b'{"colour": 7}'),
                    (f"k{i}.cls", b"1")]  # fmt: skip
    index_shards(shard(tmp_path / "s.tar", members), progress=False)
    fields = {"image": "png", "label": "json:colour"}
    own = fiberaug.StreamingDataset(tmp_path / "s.tar", fields=fields)
    with pytest.raises(DataRefused, match="index says label 1, the sample has 7"):
        opened(own).reference(2)


def test_photos_of_which_some_have_no_label_are_trained_on_without(write_set) -> None:
    content = [dict(sample) for sample in samples(12)]
    for sample in content[:5]:
        del sample["label"]
    data = write_set(iter(content[::-1]))
    source = opened(data)
    assert source.classes == ()
    assert "5 of 12" in source.notes[0]
    assert take(source, 1)[0].labels is None
    with pytest.raises(UsageError, match="5 of 12"):
        opened(data, conditional=True)


def test_what_a_source_says_of_itself_is_json(write_set) -> None:
    said = json.loads(json.dumps(opened(write_set(12)).describe()))
    assert said["photos"] == 12
    assert said["photo_px"] == [40, 48]
    assert len(said["fingerprint"]) == 64


def test_what_cannot_be_trained_on_is_refused_with_a_remedy(write_set) -> None:
    data = write_set(12)
    dataset = fiberaug.StreamingDataset
    for made, words in (
        (dataset(data, views=2), "views"),
        (dataset(data, tile=16), "tile"),
        (dataset(data, mix=fiberaug.Mix(data, ratio=0.5)), "mix"),
    ):
        with pytest.raises(UsageError, match=words):
            opened(made)
    with pytest.raises(UsageError, match="channels must be 3"):
        opened(data, channels=4)
    with pytest.raises(UsageError, match="multiple of the number of ranks"):
        opened(data, batch_size=5, rank=0, world_size=2)
    floats = dataset(data, transform=A.Compose([A.Normalize()]))
    with pytest.raises(DataRefused, match="leave Normalize"):
        opened(floats).reference(2)
