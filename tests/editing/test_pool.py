"""Photos edited into a pool."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from editors import CLASSES, Patches, Repaint, jpeg, photo

import fiberaug
from fiberaug.decode.header import ImageLimits
from fiberaug.decode.image import decode_image, decode_mask
from fiberaug.editing import EditOptions, Editor, edit_pool, remake
from fiberaug.editing.parents import Parents
from fiberaug.editing.sample import EDIT
from fiberaug.errors import DataRefused, SampleBroken, UsageError
from fiberaug.shards.opening import open_shard
from fiberaug.shards.reader import ShardRef
from fiberaug.synthetic.provenance import Provenance

HOW = {"window": 32, "margin": 4, "feather": 2, "progress": False}


@pytest.fixture
def real(tmp_path):
    """Ten photos with boxes, a mask, a caption; a class for each."""
    with fiberaug.ShardWriter(
        tmp_path / "real", classes=CLASSES, shard_size="60kB"
    ) as writer:
        for i in range(10):
            mask = np.zeros((60, 80), np.uint8)
            mask[10:30, 10:30] = 1 + i % 2
            writer.write({
                "__key__": f"street/{i:03d}", "label": i % 3, "mask": mask,
                "image": jpeg(photo(80, 60, i) // 2), "caption": f"number {i}",
                "bboxes": np.array([[10, 10, 30, 30], [50, 20, 70, 40]], np.float32),
                "bbox_labels": np.array([i % 3, 2]),
            })  # fmt: skip
    return tmp_path / "real"


def samples(folder):
    """Yield key and members of each sample of a pool."""
    pool = fiberaug.Pool.open(folder)
    for entry in pool.manifest.shards:
        path = str(Path(folder) / entry.name)
        shard = open_shard(ShardRef(path=path, index=f"{path}.idx"))
        for i in range(len(shard.index)):
            members = {k: bytes(v) for k, v in shard.read(i).items()}
            yield shard.index.key(i), members


def digests(folder):
    found = {}
    for path in sorted(Path(folder).rglob("*")):
        content = path.read_bytes() if path.is_file() else b""
        if path.name == "pool.json":
            told = json.loads(content)
            told["cost"] = None
            content = json.dumps(told).encode()
        found[path.name] = sha256(content).hexdigest()
    return found


def test_a_pool_of_edits_streams_with_the_labels_of_its_parents(real, tmp_path):
    edit_pool(real, Repaint(), tmp_path / "pool", what="background", **HOW)

    old = {
        one["__key__"]: one for one in fiberaug.StreamingDataset(str(real), train=False)
    }
    found = list(fiberaug.StreamingDataset(str(tmp_path / "pool"), train=False))

    assert len(found) == 10
    for one in found:
        parent = old[one["__key__"].removesuffix("-e000")]
        assert (one["image"] != parent["image"]).any()
        for name in ("mask", "bboxes", "bbox_labels"):
            assert (one[name] == parent[name]).all()
        assert (one["label"], one["caption"]) == (parent["label"], parent["caption"])


def test_pixels_that_edit_png_leaves_out_are_the_parents(real, tmp_path):
    edit_pool(real, Repaint(), tmp_path / "pool", copies=2, **HOW)
    parents = Parents.open(real)
    photos = {}
    for ref in parents.shards.refs:
        shard = open_shard(ref)
        photos |= {
            shard.index.key(i): bytes(shard.read(i)["jpg"])
            for i in range(len(shard.index))
        }

    found = list(samples(tmp_path / "pool"))

    assert [key for key, _ in found] == [
        f"street/{i:03d}-e{copy:03d}" for i in range(10) for copy in range(2)
    ]
    for key, members in found:
        before = decode_image(photos[key[:-5]], limits=ImageLimits())[0]
        after = decode_image(members["png"], limits=ImageLimits())[0]
        changed = decode_mask(members[EDIT], limits=ImageLimits())
        assert changed.any()
        assert (before[changed == 0] == after[changed == 0]).all()
        assert (before[changed == 255] != after[changed == 255]).any()
    photos = [members["png"] for _, members in found]
    assert len(set(photos)) == len(photos), "each copy is another edit"


def test_each_sample_is_made_again_from_its_parent(real, tmp_path):
    edit_pool(real, Repaint(), tmp_path / "pool", copies=2, seed=3, **HOW)
    parents = Parents.open(real)
    shards = {ref.name: open_shard(ref) for ref in parents.shards.refs}

    for _, members in samples(tmp_path / "pool"):
        said = Provenance.from_dict(json.loads(members["json"])["provenance"])
        shard = shards[said.parents[0].shard]
        row = shard.index.find(said.parents[0].key)
        before = {k: bytes(v) for k, v in shard.read(row).items()}
        editor = Editor(Repaint(), EditOptions(), CLASSES)
        assert remake(before, said, editor, parents.reading).members == members


class Stopped(Exception):
    """What ends an editor in the middle."""


class Stopping(Repaint):
    def __init__(self, after):
        super().__init__()
        self.left = after

    def generate(self, seeds, labels, **told):
        self.left -= 1
        if self.left < 0:
            raise Stopped
        return super().generate(seeds, labels, **told)


@pytest.mark.parametrize("after", [0, 1, 7, 12, 19])
def test_a_run_that_was_stopped_goes_on_to_the_same_pool(real, tmp_path, after):
    how = HOW | {"shard_size": "60kB", "on_error": "skip"}
    edit_pool(real, Repaint(), tmp_path / "whole", **how)
    with pytest.raises(Stopped):
        edit_pool(real, Stopping(after), tmp_path / "pool", **_as(Repaint, how))

    kept = len(list((tmp_path / "pool").rglob("*.edit")))
    assert kept <= min(after // 2, 5), "what is in a finished shard is not kept twice"

    rest = Repaint()
    edit_pool(real, rest, tmp_path / "pool", **how)

    assert digests(tmp_path / "pool") == digests(tmp_path / "whole")
    done = after // 2 * 2  # two windows a photo
    assert len(rest.asked) == 20 - done, "nothing is edited twice"


def _as(kind, how):
    """Let a subclass describe itself as its base does."""
    Stopping.__qualname__, Stopping.__module__ = kind.__qualname__, kind.__module__
    return how


KILLED = """
    import os, signal, sys
    sys.path.insert(0, sys.argv[1])
    from editors import Repaint
    from fiberaug.editing import edit_pool
    made = 0
    plain = Repaint.generate
    def generate(self, seeds, labels, **told):
        global made
        made += 1
        if made == int(sys.argv[4]):
            os.kill(os.getpid(), signal.SIGKILL)
        return plain(self, seeds, labels, **told)
    Repaint.generate = generate
    edit_pool(sys.argv[2], Repaint(), sys.argv[3], window=32, margin=4, feather=2,
              progress=False, shard_size="60kB")
"""


def test_a_run_that_was_killed_goes_on_to_the_same_pool(real, tmp_path):
    how = HOW | {"shard_size": "60kB"}
    edit_pool(real, Repaint(), tmp_path / "whole", **how)
    tests = str(Path(__file__).parents[1])
    for after in (5, 9):
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(KILLED), tests, str(real),
             str(tmp_path / "pool"), str(after)],
            env=os.environ, check=False, timeout=100,
        )  # fmt: skip
        assert done.returncode == -signal.SIGKILL

    rest = Repaint()
    edit_pool(real, rest, tmp_path / "pool", **how)

    assert len(rest.asked) == 20 - 4 - 8
    assert digests(tmp_path / "pool") == digests(tmp_path / "whole")


def test_a_pool_that_is_there_is_found_and_another_is_refused(real, tmp_path):
    edit_pool(real, Repaint(), tmp_path / "pool", **HOW)
    before = digests(tmp_path / "pool")

    again = Repaint()
    edit_pool(real, again, tmp_path / "pool", **HOW)

    assert again.asked == []
    assert digests(tmp_path / "pool") == before
    with pytest.raises(UsageError, match=r"edit\.seed is 0 there and 1 here"):
        edit_pool(real, Repaint(), tmp_path / "pool", seed=1, **HOW)


def test_a_broken_photo_is_left_out_and_told(real, tmp_path):
    broken = tmp_path / "broken"
    with fiberaug.ShardWriter(broken, classes=CLASSES) as writer:
        for i in range(4):
            image = jpeg(photo(80, 60, i))
            box = [[200, 200, 210, 210]] if i == 2 else [[10, 10, 30, 30]]
            writer.write({
                "__key__": f"k{i}", "image": image[: 600 if i == 1 else None],
                "bboxes": np.array(box, np.float32), "bbox_labels": np.array([0]),
            })  # fmt: skip

    pool = edit_pool(broken, Repaint(), tmp_path / "pool", **HOW)

    assert [key for key, _ in samples(pool.path)] == ["k0-e000", "k3-e000"]
    lines = [
        json.loads(line)
        for line in (pool.path / "rejected.jsonl").read_text().splitlines()
    ]
    assert [(one["key"], one["reason"]) for one in lines] == [
        ("k1", "broken"), ("k2", "nothing_to_edit"),
    ]  # fmt: skip
    assert lines[0]["stage"] == "decode"
    assert pool.file.state == "short"
    assert pool.file.counts["edited"]["rejected"] == {
        "broken": 1, "nothing_to_edit": 1,
    }  # fmt: skip
    with pytest.raises(SampleBroken) as told:
        edit_pool(broken, Repaint(), tmp_path / "strict", on_error="raise", **HOW)
    assert told.value.key == "k1"


def test_nothing_to_edit_at_all_is_an_error(real, tmp_path):
    with pytest.raises(DataRefused, match="none of 10 samples was edited"):
        edit_pool(
            real, Repaint(), tmp_path / "pool", region="mask", classes=("ring",), **HOW
        )


def split_set(tmp_path):
    for i in range(12):
        path = tmp_path / "photos" / CLASSES[i % 3] / f"{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(photo(80, 60, i)))
    fiberaug.convert(
        tmp_path / "photos", tmp_path / "set", split="train=0.5,val=0.5", workers=1,
        progress=False,
    )  # fmt: skip
    return str(tmp_path / "set")


def test_a_training_refuses_edits_of_photos_that_validate(tmp_path):
    folder = split_set(tmp_path)
    with pytest.raises(UsageError, match="has the parts"):
        edit_pool(folder, Repaint(), tmp_path / "none", **HOW)
    with pytest.raises(UsageError, match="no part 'test'"):
        edit_pool(folder, Repaint(), tmp_path / "none", split="test", **HOW)
    pools = {
        split: edit_pool(
            folder, Repaint(), tmp_path / split, split=split, region="grid", **HOW
        )
        for split in ("train", "val", "all")
    }

    assert set(pools["train"].file.parents["splits"]) == {"train"}
    assert set(pools["all"].file.parents["splits"]) == {"train", "val"}
    mixed = fiberaug.StreamingDataset(
        folder, split="train", mix=fiberaug.Mix(str(tmp_path / "train"), ratio=0.5)
    )
    assert any("-e000" in one["__key__"] for one in mixed)
    for split in ("val", "all"):
        with pytest.raises(DataRefused, match="not in the training part"):
            fiberaug.StreamingDataset(
                folder, split="train",
                mix=fiberaug.Mix(str(tmp_path / split), ratio=0.5),
            )  # fmt: skip


def test_a_folder_of_photos_is_edited_without_a_conversion(tmp_path):
    for name in CLASSES:
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(2):
            path = tmp_path / "photos" / name / f"{i}.jpg"
            path.write_bytes(jpeg(photo(80, 60, i), 6))

    pool = edit_pool(
        tmp_path / "photos", Repaint(), tmp_path / "pool", region="grid", **HOW
    )

    found = list(fiberaug.StreamingDataset(str(pool.path), train=False))
    assert sorted(one["label"] for one in found) == [0, 0, 1, 1, 2, 2]
    assert all(one["image"].shape == (3, 80, 60) for one in found)


def test_limit_takes_the_first_photos(real, tmp_path):
    pool = edit_pool(real, Repaint(), tmp_path / "pool", limit=3, **HOW)

    assert [key for key, _ in samples(pool.path)] == [
        f"street/{i:03d}-e000" for i in range(3)
    ]


def test_a_maker_of_patches_edits_only_classes_that_it_makes(real, tmp_path):
    class Rings(Patches):
        classes = ("ring",)

    pool = edit_pool(real, Rings(), tmp_path / "pool", mode="paste", **HOW)

    assert pool.file.checks["objects"] == {"asked": 4}
    assert pool.file.counts["edited"]["rejected"] == {"nothing_to_edit": 6}


@pytest.mark.parametrize(
    "wrong",
    [{"limit": 0}, {"on_error": "ignore"}, {"colour": "red"}, {"shard_size": "-1"}],
)
def test_an_argument_that_is_not_understood_is_named(real, tmp_path, wrong):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        edit_pool(real, Repaint(), tmp_path / "pool", **(HOW | wrong))
    assert not (tmp_path / "pool").exists()


def test_a_call_that_fails_at_once_leaves_the_folder_to_a_better_one(real, tmp_path):
    class Half:
        def generate(self, seeds, labels, *, image, mask):
            return image[:, ::2]

    with pytest.raises(UsageError, match="returned"):
        edit_pool(real, Half(), tmp_path / "pool", **HOW)

    assert len(edit_pool(real, Repaint(), tmp_path / "pool", **HOW)) == 10
