"""Laws of index, verify and info: any shards, every damage, the right figures."""

import io
import json
import tarfile

import numpy as np
import pytest
from sets import cut_jpeg, photo, samples
from webdataset.writer import TarWriter

from fiberaug import ShardWriter, StreamingDataset, convert
from fiberaug.errors import SecurityRefused, ShardDamaged, StoreError, UsageError
from fiberaug.jobs.describing import Describer
from fiberaug.jobs.encoding import encode_image
from fiberaug.jobs.indexing import index_shards
from fiberaug.jobs.summary import summarize
from fiberaug.jobs.verifying import verify
from fiberaug.shards.index import DECODES, ShardIndex
from fiberaug.shards.reader import ShardFile
from fiberaug.shards.resolve import resolve


def foreign(path, rows):
    """Write a shard as plain webdataset does."""
    with path.open("wb") as file:
        writer = TarWriter(file, encoder=False)
        for key, members in rows:
            writer.write({"__key__": key, **members})
        writer.close()
    return path


def rows(count=5, start=0):
    """Return samples as img2dataset stores them, with labels."""
    for i in range(start, start + count):
        about = {"caption": f"no {i}", "width": 48, "height": 40, "exif": "{}",
                 "error_message": None}  # fmt: skip
        yield (
            f"{i:09d}",
            {
                "jpg": encode_image(photo(i), "jpeg"),
                "txt": f"no {i}".encode(),
                "json": json.dumps(about, indent=4).encode(),
                "cls": f"{i % 2}\n".encode(),
            },
        )


@pytest.fixture
def theirs(tmp_path):
    folder = tmp_path / "theirs"
    folder.mkdir()
    for i in range(2):
        foreign(folder / f"{i:05d}.tar", rows(start=5 * i))
    return folder


@pytest.fixture
def ours(tmp_path):
    convert(samples(8), tmp_path / "ours", shard_size="10kB", progress=False)
    return tmp_path / "ours"


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


# ---- describing


def facts_of(**members):
    describe = Describer(decode=members.pop("decode", False))
    return describe("k", members)


@pytest.mark.parametrize(
    ("members", "label"),
    [
        ({"cls": b"3"}, 3),
        ({"cls": b"3\n"}, 3),
        ({"cls": b"007"}, 7),
        ({"cls": b"-1"}, -1),
        ({"cls": b"3.0"}, -1),
        ({"cls": b"cat"}, -1),
        ({"cls": b"\xff"}, -1),
        ({"cls": b"99999999999999999999"}, -1),
        ({"json": b'{"label": 4}'}, 4),
        ({"json": b'{"class": 4}'}, 4),
        ({"json": b'{"label": true}'}, 1),
        ({"json": b'{"label": [1, 0]}'}, -1),
        ({"json": b'{"label": 1e300}'}, -1),
        ({"json": b"[4]"}, -1),
        ({"json": b"{"}, -1),
        ({"cls": b"1", "json": b'{"label": 4}'}, 1),
        ({}, -1),
    ],
    ids=list("abcdefghijklmnopq"),
)
def test_the_index_knows_the_class_that_training_gets(members, label):
    assert facts_of(**members).label == label


def test_the_index_knows_size_turn_and_boxes():
    jpeg = encode_image(photo(0), "jpeg")
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    turned = (
        jpeg[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + jpeg[2:]
    )
    boxes = b'{"objects": [{"bbox": [0, 0, 1, 1]}, {}]}'

    facts = facts_of(jpg=turned, json=boxes)

    assert (facts.width, facts.height, facts.orientation, facts.boxes) == (40, 48, 6, 2)
    assert facts_of(jpg=b"no image")[1:4] == (0, 0, 0)
    assert facts_of(jpg=jpeg).flags == 0
    assert facts_of(jpg=jpeg, decode=True).flags == DECODES
    assert facts_of(jpg=cut_jpeg(0), decode=True).flags == 0
    assert facts_of(jpg=cut_jpeg(0), decode=True).width == 160


# ---- index


def test_foreign_shards_become_countable(theirs):
    assert resolve(theirs).counts is None

    done = indexed(theirs)

    assert [(d.path.name, d.samples, d.members, d.kept) for d in done] == [
        ("00000.tar", 5, 20, False),
        ("00001.tar", 5, 20, False),
    ]
    assert resolve(theirs).counts == (5, 5)
    dataset = StreamingDataset(theirs, train=False, record="none")
    assert dataset.describe() == (
        "image <- jpg, label <- cls, caption? <- txt, ignored: json"
    )
    found = list(dataset)
    assert [s["label"] for s in found] == [i % 2 for i in range(10)]
    assert [s["caption"] for s in found] == [f"no {i}" for i in range(10)]


def test_an_index_that_is_there_is_kept_and_a_damaged_one_made_again(theirs):
    indexed(theirs)
    first = theirs / "00000.tar.idx"
    before = first.stat().st_mtime_ns
    change(theirs / "00001.tar.idx", 100)

    assert [d.kept for d in indexed(theirs)] == [True, False]
    assert first.stat().st_mtime_ns == before
    assert [d.kept for d in indexed(theirs)] == [True, True]


def test_indexes_stand_where_they_are_told_to(theirs, tmp_path):
    indexed(theirs, index_dir=tmp_path / "new" / "indexes")

    assert not list(theirs.glob("*.idx"))
    assert resolve(theirs, index_dir=tmp_path / "new/indexes").counts == (5, 5)
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot make"):
        indexed(theirs, index_dir=tmp_path / "file")


def test_shards_of_one_name_do_not_share_an_index(theirs, tmp_path):
    (tmp_path / "more").mkdir()
    foreign(tmp_path / "more/00000.tar", rows())
    both = [theirs, tmp_path / "more"]

    with pytest.raises(UsageError, match="overwrite each other"):
        indexed(both, index_dir=tmp_path / "indexes")
    assert len(indexed(both)) == 3, "beside the shards there is room"


def test_the_index_says_what_decodes_when_asked(theirs, tmp_path):
    foreign(theirs / "00002.tar", [("a", {"jpg": cut_jpeg(0)}), *rows(1)])
    indexed(theirs, decode=True)

    index = ShardIndex.open(theirs / "00002.tar.idx", shard="s")
    assert index.columns["flags"].tolist() == [0, DECODES]


def test_a_damaged_shard_gets_no_index(theirs):
    content = (theirs / "00001.tar").read_bytes()
    (theirs / "00001.tar").write_bytes(content[: len(content) // 2])

    with pytest.raises(ShardDamaged):
        indexed(theirs)

    assert sorted(p.name for p in theirs.glob("*.idx")) == ["00000.tar.idx"]


def test_a_shard_with_a_link_is_refused(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        link = tarfile.TarInfo("a.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)

    with pytest.raises(SecurityRefused, match="link"):
        indexed(tmp_path)


# ---- verify


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


@pytest.mark.parametrize("make", [lambda c: c[:-1], lambda c: b"", lambda c: b"x" * 99],
                         ids=list("abc"))  # fmt: skip
def test_a_damaged_index_is_a_problem_and_not_the_end(theirs, make):
    """The other shards are looked at, too."""
    indexed(theirs)
    side_car = theirs / "00000.tar.idx"
    side_car.write_bytes(make(side_car.read_bytes()))
    change(theirs / "00001.tar", place_of(f"{theirs}/00001.tar", 0, "jpg") + 9)

    found = problems(theirs)

    assert [p.shard for p in found] == ["00000.tar", "00001.tar"]
    assert "fiberaug index" in found[0].reason


def test_a_shard_of_another_size_is_a_problem_and_not_the_end(theirs):
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


def test_a_key_that_stands_twice_is_found(theirs):
    foreign(theirs / "00002.tar", rows(1, start=3))

    problem = only_problem(theirs)

    assert (problem.shard, problem.key) == ("00002.tar", "000000003")
    assert "00000.tar too" in problem.reason


def test_a_missing_field_is_found(theirs):
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


def test_a_mixed_folder_has_no_problem(tmp_path):
    mixed = [("a", {"jpg": encode_image(photo(0), "jpeg"), "cls": b"0"}),
             ("b", {"png": encode_image(photo(1), "png"), "cls": b"1"})]  # fmt: skip
    foreign(tmp_path / "a.tar", mixed)

    assert problems(tmp_path, decode=True) == []


def test_an_image_that_does_not_decode_is_found_when_asked(theirs):
    foreign(theirs / "00002.tar", [("cut", {"jpg": cut_jpeg(0), "cls": b"0"})])

    assert problems(theirs) == []
    result = verify(theirs, decode=True, progress=False)
    (problem,) = result.problems
    assert (problem.key, result.decoded) == ("cut", 10)
    assert "cannot be decoded" in problem.reason


def test_shards_without_an_image_are_one_problem_each(tmp_path):
    foreign(tmp_path / "a.tar", [("a", {"wav": b"RIFF"})])

    assert "no field looks like an image" in only_problem(tmp_path).reason


def test_two_shards_of_one_name_are_a_problem(theirs, tmp_path):
    (tmp_path / "more").mkdir()
    foreign(tmp_path / "more/00000.tar", rows(1, start=30))

    found = problems([theirs, tmp_path / "more"])

    assert "one file name" in found[0].reason


def test_json_that_no_field_needs_may_be_unsound(tmp_path):
    """img2dataset passes NaN of its table on."""
    about = b'{"similarity": NaN}'
    foreign(tmp_path / "a.tar", [("a", {"jpg": encode_image(photo(0), "jpeg"),
                                        "json": about})])  # fmt: skip

    assert problems(tmp_path, decode=True) == []
    assert summarize(tmp_path)["fields"] == "image <- jpg, ignored: json"


# ---- info


def test_the_figures_of_a_set(tmp_path):
    with ShardWriter(tmp_path / "set", shard_size="8kB", classes=["ok", "bad"]) as out:
        for i in range(6):
            boxes = [[0, 0, 9, 9]] * (i % 3)
            out.write({"__key__": f"{i}", "image": photo(i, 20 + i, 40), "bboxes": boxes,
                       "label": ["ok", "bad"][i == 5]})  # fmt: skip
        out.write({"__key__": "nothing", "label": 7})

    figures = summarize(tmp_path / "set")

    shards = list((tmp_path / "set").glob("*.tar"))
    fingerprint = figures.pop("fingerprint")
    assert fingerprint == resolve(tmp_path / "set").fingerprint
    assert figures == {
        "shards": len(shards),
        "bytes": sum(path.stat().st_size for path in shards),
        "samples": 7,
        "indexed": True,
        "fields": "image <- png, label <- cls, bboxes? <- json:objects[].bbox,"
        " bbox_labels? <- json:objects[].label",
        "classes": {"ok": 5, "bad": 1, "7": 1},
        "boxes": 6,
        "width_px": {"min": 40, "median": 40, "max": 40},
        "height_px": {"min": 20, "median": 22, "max": 25},
        "no_image_size": 1,
        "turned_by_exif": 0,
    }
    assert json.loads(json.dumps(figures)) == figures


def test_without_an_index_little_is_known(theirs):
    figures = summarize(theirs)

    assert (figures["samples"], figures["indexed"], figures["shards"]) == (
        None,
        False,
        2,
    )
    assert "classes" not in figures
    indexed(theirs)
    assert summarize(theirs)["classes"] == {"0": 5, "1": 5}


def test_shards_without_an_image_have_figures_all_the_same(tmp_path):
    foreign(tmp_path / "a.tar", [("a", {"wav": b"RIFF", "cls": b"3"})])
    indexed(tmp_path)

    figures = summarize(tmp_path)

    assert figures["fields"] == "ignored: cls wav"
    assert (figures["samples"], figures["classes"]) == (1, {"3": 1})
    assert "width_px" not in figures


def test_a_missing_shard_is_a_store_error(ours):
    (ours / "shard-000001.tar").unlink()

    with pytest.raises(StoreError, match="shard-000001"):
        summarize(ours)


def test_the_progress_is_for_people(theirs, capsys):
    indexed(theirs)
    verify(theirs)

    captured = capsys.readouterr()
    assert io.StringIO(captured.out + captured.err).read() == ""
