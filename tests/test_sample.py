"""Laws of a sample: a read-only mapping that knows where it came from."""

import pickle
from collections.abc import Mapping

import numpy as np
import pytest

from fiberaug.sample import Sample

IMAGE = np.zeros((2, 3, 3), np.uint8)


@pytest.fixture
def sample():
    fields = {"image": IMAGE, "label": 4, "caption": "a cable"}
    return Sample(fields, key="s/7", url="/data/a.tar")


def test_a_sample_is_a_mapping_of_its_fields(sample):
    assert isinstance(sample, Mapping)
    assert list(sample) == ["image", "label", "caption"]
    assert (len(sample), sample["label"], sample.get("mask")) == (3, 4, None)
    assert dict(sample).keys() == sample.keys()
    assert "mask" not in sample
    with pytest.raises(KeyError, match="mask"):
        sample["mask"]


def test_key_and_url_are_found_by_webdataset_s_names_and_are_no_fields(sample):
    assert sample["__key__"] == sample.key == "s/7"
    assert sample["__url__"] == sample.url == "/data/a.tar"
    assert not {"__key__", "__url__"} & set(sample)


def test_a_sample_is_read_only_and_keeps_its_own_fields():
    fields = {"label": 4}
    sample = Sample(fields, key="s/7", url="a.tar")
    fields["label"] = 5

    assert sample["label"] == 4
    with pytest.raises(TypeError):
        sample["label"] = 6
    with pytest.raises(AttributeError):
        sample.labels = 6


def test_replace_gives_another_sample_of_the_same_identity(sample):
    other = sample.replace(label=5, mask=None)

    assert (other["label"], other["mask"], sample["label"]) == (5, None, 4)
    assert (other.key, other.url, other.record) == (sample.key, sample.url, None)
    assert other["image"] is IMAGE
    assert "mask" not in sample


def test_a_subclass_stays_itself_when_fields_are_replaced():
    class Labelled(Sample):
        __slots__ = ()

    assert type(Labelled({}, key="k", url="u").replace(label=1)) is Labelled


def test_the_record_travels_with_the_sample():
    record = object()
    sample = Sample({}, key="k", url="u", record=record)

    assert sample.record is sample.replace(label=1).record is record


def test_a_sample_shows_its_key_and_shapes_not_its_pixels(sample):
    assert repr(sample) == "Sample('s/7', image: (2, 3, 3), label: int, caption: str)"


def test_a_sample_survives_the_way_between_processes(sample):
    again = pickle.loads(pickle.dumps(sample.replace(image=None)))

    assert dict(again) == {"image": None, "label": 4, "caption": "a cable"}
    assert (again.key, again.url, again.record) == ("s/7", "/data/a.tar", None)
