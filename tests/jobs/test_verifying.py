"""Laws of verifying: a sound set has no problem, and no damage goes unseen."""

import json

import numpy as np
import pytest
from sets import cut_jpeg, photo, samples

import fiberaug
from fiberaug.errors import UsageError
from fiberaug.jobs.encoding import encode_image
from fiberaug.jobs.indexing import index_shards
from fiberaug.jobs.summary import summarize
from fiberaug.jobs.verifying import verify
from fiberaug.shards.index import ShardIndex
from fiberaug.shards.reader import ShardFile
from fiberaug.shards.resolve import resolve


def indexed(shards, **options):
    return index_shards(shards, progress=False, **options)


def problems(shards, **options):
    return verify(shards, progress=False, **options).problems


def only_problem(shards, **options):
    (problem,) = problems(shards, **options)
    return problem


def change(path, at, how=lambda byte: byte ^ 1):
    content = bytearray(path.read_bytes())
    content[at] = how(content[at])
    path.write_bytes(content)


def place_of(shard, sample, extension):
    file = ShardFile(resolve(shard).refs[0])
    fields = {f.extension: f for f in file.index.fields(sample)}
    return fields[extension].offset


def test_a_field_that_may_miss_is_not_missed(tmp_path):
    """dataset.json says which fields may, better than the first sample does."""
    rows = [
        row if i % 2 else {**row, "label": None} for i, row in enumerate(samples(4))
    ]
    with fiberaug.ShardWriter(
        tmp_path / "set", fields={"image": "png", "label?": "cls"}
    ) as writer:
        for row in reversed(rows):
            writer.write(row)

    assert verify(tmp_path / "set", progress=False).problems == []


def test_a_sound_set_has_no_problem(ours, theirs):
    result = verify(ours, decode=True, progress=False)

    assert result.problems == []
    assert (result.samples, result.decoded) == (8, 8)
    assert result.shards == len(list(ours.glob("*.tar"))) > 1
    assert result.bytes == sum(p.stat().st_size for p in ours.glob("*.tar"))
    assert problems(theirs, decode=True) == [], "without an index"
    indexed(theirs)
    assert problems(theirs, decode=True) == []


def test_a_flipped_byte_in_a_member_is_found_and_placed(theirs):
    indexed(theirs)
    shard = theirs / "00000.tar"
    change(shard, place_of(shard, 3, "jpg") + 40)

    problem = only_problem(theirs)

    assert (problem.shard, problem.key) == ("00000.tar", "000000003")
    assert problem.offset == place_of(shard, 3, "jpg")
    assert "crc32" in problem.reason


def test_a_flipped_byte_that_leaves_the_index_right_is_found_by_its_sum(ours):
    shard = ours / "shard-000000.tar"
    change(shard, 100)  # the mode in the first header; the header's checksum breaks

    found = problems(ours)

    assert "SHA-256" in found[0].reason
    assert {p.shard for p in found} == {"shard-000000.tar"}
    assert "checksum" in found[1].reason


@pytest.mark.parametrize("column", ["label", "width", "class_rank", "offset", "size"])
def test_an_index_that_says_otherwise_is_found(theirs, column):
    indexed(theirs)
    side_car = theirs / "00000.tar.idx"
    index = ShardIndex.open(side_car, shard="00000.tar")
    columns = {name: np.array(values) for name, values in index.columns.items()}
    columns[column][2] += 1
    forged = ShardIndex(columns, shard_bytes=index.shard_bytes, shard="00000.tar")
    side_car.write_bytes(forged.to_bytes())

    problem = only_problem(theirs)

    assert problem.reason == f"{column} in the index differs from the shard"
    assert problem.key == ("000000000" if column in {"offset", "size"} else "000000002")


@pytest.mark.parametrize("left", [-1, 0, 60])
def test_a_damaged_index_is_a_problem_and_not_the_end(theirs, left):
    """The other shards are looked at, too."""
    indexed(theirs)
    side_car = theirs / "00000.tar.idx"
    side_car.write_bytes(side_car.read_bytes()[:left])
    change(theirs / "00001.tar", place_of(f"{theirs}/00001.tar", 0, "jpg") + 9)

    found = problems(theirs)

    assert [p.shard for p in found] == ["00000.tar", "00001.tar"]
    assert "fiberaug index" in found[0].reason


def test_a_shard_of_another_size_is_a_problem_and_not_the_end(theirs, foreign, rows):
    indexed(theirs)
    foreign(theirs / "00000.tar", rows(3))

    found = problems(theirs)

    assert [p.shard for p in found] == ["00000.tar"]
    assert "5 samples, the shard 3" in found[0].reason


def test_a_missing_or_cut_shard_of_a_data_set_is_a_problem_and_not_the_end(ours):
    shards = sorted(ours.glob("*.tar"))
    shards[0].unlink()
    shards[1].write_bytes(shards[1].read_bytes()[:-600])

    result = verify(ours, progress=False)

    assert [p.shard for p in result.problems] == [
        "shard-000000.tar", "shard-000001.tar", "shard-000001.tar"
    ]  # fmt: skip
    assert "cannot read" in result.problems[0].reason
    assert "bytes, dataset.json says" in result.problems[1].reason
    assert "multiple of 512" in result.problems[2].reason
    assert result.shards == len(shards)


def test_a_damaged_list_is_a_problem_and_the_shards_are_looked_at(ours):
    (ours / "dataset.json").write_text("{")
    change(ours / "shard-000001.tar", 100)

    found = problems(ours)

    assert "is not JSON" in found[0].reason
    assert [p.shard for p in found[1:]] == ["shard-000001.tar"]


def test_counts_that_differ_are_found(ours):
    path = ours / "dataset.json"
    described = json.loads(path.read_bytes())
    described["shards"][0]["samples"] += 1
    path.write_text(json.dumps(described))

    assert "dataset.json says" in only_problem(ours).reason


def test_a_missing_index_of_a_data_set_is_found(ours):
    (ours / "shard-000001.tar.idx").unlink()

    assert "cannot read index" in only_problem(ours).reason


def test_a_key_that_stands_twice_is_found(theirs, foreign, rows):
    foreign(theirs / "00002.tar", rows(1, start=3))

    problem = only_problem(theirs)

    assert (problem.shard, problem.key) == ("00002.tar", "000000003")
    assert "00000.tar too" in problem.reason


def test_a_missing_field_is_found(theirs, foreign, rows):
    (key, members), (other, whole) = rows(2, start=20)
    del members["cls"]
    foreign(theirs / "00002.tar", [(key, members), (other, whole)])

    problem = only_problem(theirs)

    assert (problem.key, problem.shard) == (key, "00002.tar")
    assert "label missing; the sample has ['jpg', 'json', 'txt']" in problem.reason
    assert problems(theirs, fields="image") == []
    needed = {"image": "jpg", "caption": "txt", "ground": "xyz"}
    assert len(problems(theirs, fields=needed)) == 12
    with pytest.raises(UsageError, match="fields"):
        problems(theirs, fields="everything")


def test_a_mixed_folder_has_no_problem(tmp_path, foreign):
    mixed = [("a", {"jpg": encode_image(photo(0), "jpeg"), "cls": b"0"}),
             ("b", {"png": encode_image(photo(1), "png"), "cls": b"1"})]  # fmt: skip
    foreign(tmp_path / "a.tar", mixed)

    assert problems(tmp_path, decode=True) == []


def test_an_image_that_does_not_decode_is_found_when_asked(theirs, foreign):
    foreign(theirs / "00002.tar", [("cut", {"jpg": cut_jpeg(0), "cls": b"0"})])

    assert problems(theirs) == []
    result = verify(theirs, decode=True, progress=False)
    (problem,) = result.problems
    assert (problem.key, result.decoded) == ("cut", 10)
    assert "cannot be decoded" in problem.reason


def test_shards_without_an_image_are_one_problem_each(tmp_path, foreign):
    foreign(tmp_path / "a.tar", [("a", {"wav": b"RIFF"})])

    assert "no field looks like an image" in only_problem(tmp_path).reason


def test_two_shards_of_one_name_are_a_problem(theirs, tmp_path, foreign, rows):
    (tmp_path / "more").mkdir()
    foreign(tmp_path / "more/00000.tar", rows(1, start=30))

    found = problems([theirs, tmp_path / "more"])

    assert "one file name" in found[0].reason


def test_json_that_no_field_needs_may_be_unsound(tmp_path, foreign):
    """img2dataset passes NaN of its table on."""
    about = b'{"similarity": NaN}'
    foreign(tmp_path / "a.tar", [("a", {"jpg": encode_image(photo(0), "jpeg"),
                                        "json": about})])  # fmt: skip

    assert problems(tmp_path, decode=True) == []
    assert summarize(tmp_path)["fields"] == "image <- jpg, ignored: json"
