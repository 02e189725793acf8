"""The fields of a set are found out once, for the loader and for ``info`` alike."""

from pathlib import Path

from sets import samples

import fiberaug
from fiberaug.jobs.mapping import resolve_fields
from fiberaug.jobs.summary import summarize
from fiberaug.shards.resolve import resolve


def test_what_convert_wrote_wins_over_a_guess(tmp_path):
    mapping = {"image": "png", "class_id": "cls"}
    with fiberaug.ShardWriter(tmp_path / "set", fields=mapping) as writer:
        for sample in samples(4):
            writer.write(sample)
    dataset = fiberaug.StreamingDataset(tmp_path / "set", record="none")

    assert dataset.describe() == "image <- png, class_id <- cls"
    assert summarize(tmp_path / "set")["fields"] == dataset.describe()
    assert "class_id" in next(iter(dataset))


def test_a_broken_first_sample_hides_nothing(tmp_path):
    fiberaug.convert(samples(4), tmp_path / "set", progress=False)
    found = resolve(tmp_path / "set")
    path = Path(found.refs[0].path)
    content = bytearray(path.read_bytes())
    content[content.index(b"\x89PNG") + 40] ^= 1
    path.write_bytes(content)

    assert [spec.name for spec in resolve_fields(found, "auto")[1]] == [
        "image",
        "label",
    ]
    assert "label <- cls" in summarize(tmp_path / "set")["fields"]
