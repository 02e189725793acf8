"""A set is made seekable in place: the same samples, and no kill halves any."""

import hashlib
import io
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
import webdataset
from filelock import FileLock
from PIL import Image
from rendered_jpegs import KINDS, render, soft_noise
from sets import DATA

import fiberaug
from fiberaug.decode import turbo
from fiberaug.decode.restarts import find_ends, read_layout
from fiberaug.errors import DataRefused, ShardDamaged, StateMismatch, UsageError
from fiberaug.jobs.encoding import encode_image
from fiberaug.jobs.indexing import index_shards
from fiberaug.jobs.restarting import State, mark
from fiberaug.jobs.seekable import make_seekable
from fiberaug.jobs.verifying import verify
from fiberaug.shards.index import DECODES, ShardIndex
from fiberaug.shards.manifest import SEEKING, Manifest
from fiberaug.shards.resolve import resolve

pytestmark = [
    pytest.mark.skipif(not turbo.available(), reason=turbo.why_not()),
    # webdataset leaves its files to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
CUT = render("4:2:0 baseline", 60, 90)[:-400]
PNG = encode_image(soft_noise(1, 30, 40), "png")


def photos(count, size=(45, 70)):
    """Samples with JPEGs of every kind in turn, a PNG and a file that is cut off."""
    for i in range(count):
        data = render(KINDS[i % len(KINDS)], *size, seed=i)
        image = CUT if i == 3 else PNG if i == 4 else data
        yield {
            "__key__": f"k{i:03d}", "image": image, "label": i % 3,
            "second.jpg": data, "json": {"group": f"g{i // 2}", "note": "x" * i},
        }  # fmt: skip


@pytest.fixture
def made(write_set):
    return Path(write_set(photos(45)))


def by_webdataset(folder):
    """Return {key: {extension: bytes}} as plain webdataset reads it, in its order."""
    shards = sorted(str(path) for path in Path(folder).glob("*.tar"))
    read = webdataset.WebDataset(shards, shardshuffle=False, empty_check=False)
    return {
        row["__key__"]: {k: v for k, v in row.items() if not k.startswith("__")}
        for row in read
    }


def by_pil(data):
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB")), image.getexif().get(0x0112)


def headers(folder):
    """Return all that tar headers say but sizes and places, by the standard library."""
    found = []
    for path in sorted(Path(folder).glob("*.tar")):
        with tarfile.open(path) as tar:
            found += [
                (m.name, m.mtime, m.mode, m.uid, m.gname, m.type) for m in tar
            ]  # fmt: skip
    return found


def hashes(folder):
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(Path(folder).iterdir())
        if path.is_file()
    }


def indexes(folder):
    return {
        path.name: ShardIndex.open(path, shard=path.stem)
        for path in sorted(Path(folder).glob("*.idx"))
    }


def run(folder, **options):
    return make_seekable(str(folder), **{"workers": 1, "progress": False} | options)


def test_a_plain_reader_finds_the_same_samples_with_the_same_pixels(made):
    before, told = by_webdataset(made), headers(made)

    done = run(made)

    after = by_webdataset(made)
    assert headers(made) == told
    assert [*after] == [*before]
    cut = 0
    for key, members in before.items():
        assert [*after[key]] == [*members]
        for name, old in members.items():
            new = after[key][name]
            if not name.endswith("jpg") or old == CUT:
                assert new == old
                continue
            pixels, orientation = by_pil(new)
            expected, turned = by_pil(old)
            assert (pixels == expected).all()
            assert orientation == turned
            assert read_layout(new) is not None
            cut += new != old
    # A sample has two JPEGs, but for the PNG; "restarts" have markers, some fitting.
    assert done.marked == cut
    assert done.marked + done.already == 45 * 2 - 2
    assert done.already <= 2 * sum(
        "restarts" in KINDS[i % len(KINDS)] for i in range(45)
    )
    assert [one["member"] for one in done.left] == ["k003.jpg"]
    assert done.bytes_after == sum(path.stat().st_size for path in made.glob("*.tar"))


def test_the_index_keeps_what_it_says_and_learns_where_segments_end(made):
    old = indexes(made)
    run(made)
    assert not verify(str(made), decode=False, progress=False).problems
    new = indexes(made)
    assert [*new] == [*old]
    places = {"offset", "size", "crc32", "flags"}
    for name, index in new.items():
        for column in set(old[name].columns) - places - {"segments", "segment_offset"}:
            assert (index.columns[column] == old[name].columns[column]).all(), column
        tar = (made / name.removesuffix(".idx")).read_bytes()
        for i in range(len(index)):
            image = index.fields(i)[[f.extension for f in index.fields(i)].index(
                "png" if index.key(i) == "k004" else "jpg"
            )]  # fmt: skip
            data = tar[image.offset : image.offset + image.size]
            ends, decodes = index.segment_ends(i), index.columns["flags"][i] & DECODES
            if data in {CUT, PNG}:
                assert ends is None
                assert not decodes
                continue
            assert (ends == find_ends(data, read_layout(data))).all()
            assert decodes


def test_verify_sees_offsets_that_are_not_those_of_the_shard(made):
    run(made)
    path = min(made.glob("*.idx"))
    index = indexes(made)[path.name]
    index.columns["segments"] = np.array(index.columns["segments"])
    index.columns["segments"][1] += 1
    path.write_bytes(index.to_bytes())
    problems = verify(str(made), progress=False).problems
    assert any("segments in the index differs" in str(one) for one in problems)


def test_dataset_json_is_that_of_the_new_shards(made):
    old = Manifest.read(made)
    run(made)
    new = Manifest.read(made)
    for entry, before in zip(new.shards, old.shards, strict=True):
        content = (made / entry.name).read_bytes()
        assert entry.bytes == len(content)
        assert entry.sha256 == hashlib.sha256(content).hexdigest()
        assert (entry.name, entry.samples, entry.counts) == (
            before.name, before.samples, before.counts,
        )  # fmt: skip
    assert (new.classes, new.fields, new.producer) == (
        old.classes, old.fields, old.producer,
    )  # fmt: skip
    assert resolve(str(made)).fingerprint != hashlib.sha256(b"").hexdigest()


def test_a_state_of_before_is_refused_and_samples_stay(made):
    def loader():
        data = fiberaug.StreamingDataset(str(made), seed=5, on_error="mask")
        return fiberaug.DataLoader(data, 4, collate="list")

    left = loader()
    before = [key for batch in left for key in batch["__key__"]]
    state = left.state_dict()
    run(made)
    with pytest.raises(StateMismatch, match="fingerprint"):
        loader().load_state_dict(state)
    assert [key for batch in loader() for key in batch["__key__"]] == before


def test_a_second_run_changes_nothing(made):
    first = run(made)
    known = hashes(made)
    again = run(made)
    assert hashes(made) == known
    assert (again.marked, again.already) == (0, first.marked + first.already)
    assert again.left == first.left


def test_bytes_do_not_depend_on_workers(made, tmp_path):
    shutil.copytree(made, tmp_path / "other")
    assert run(made, workers=1) == run(tmp_path / "other", workers=2)
    assert hashes(made) == hashes(tmp_path / "other")


def test_shards_without_an_index_stay_without(made, tmp_path):
    bare = tmp_path / "bare"
    bare.mkdir()
    for path in made.glob("*.tar"):
        shutil.copy(path, bare)
    run(made)
    run(bare)
    assert {
        name: one for name, one in hashes(made).items() if name.endswith("tar")
    } == (hashes(bare))
    index_shards(str(bare), decode=False, progress=False)
    for name, index in indexes(bare).items():
        with_facts = indexes(made)[name]
        for i in range(len(index)):
            ends, others = index.segment_ends(i), with_facts.segment_ends(i)
            assert np.array_equal(ends, others) or ends is others is None


def test_tars_of_others_keep_times_owners_long_names_and_folders(tmp_path):
    data = render("4:2:0 baseline", 50, 60)
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.GNU_FORMAT) as tar:
        folder = tarfile.TarInfo("some")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name in ("some/a.jpg", "some/a.txt", f"some/{'b' * 150}.JPG", "README"):
            member = tarfile.TarInfo(name)
            content = data if name.lower().endswith("jpg") else b"text"
            member.size, member.mtime, member.uname = len(content), 1234567, "somebody"
            tar.addfile(member, io.BytesIO(content))
    before = headers(tmp_path)
    assert len(before) == 5

    done = run(tmp_path / "a.tar")

    assert done.marked == 2
    assert headers(tmp_path) == before
    with tarfile.open(tmp_path / "a.tar") as tar:
        assert tar.extractfile("some/a.txt").read() == b"text"
        new = tar.extractfile(f"some/{'b' * 150}.JPG").read()
    assert new != data
    assert (by_pil(new)[0] == by_pil(data)[0]).all()


def test_a_photo_that_is_not_the_indexed_one_stays_and_stays_refused(made):
    path = min(made.glob("*.tar"))
    index = indexes(made)[f"{path.name}.idx"]
    image = next(one for one in index.fields(0) if one.extension == "jpg")
    content = bytearray(path.read_bytes())
    content[image.offset + 14] ^= 1  # the density that a JFIF segment says
    path.write_bytes(content)

    done = run(made)

    assert "checksum" in done.left[0]["reason"]
    new = indexes(made)[f"{path.name}.idx"]
    assert image in new.fields(0)
    assert any("k000" in str(one) for one in verify(str(made), progress=False).problems)


def test_a_copy_that_would_decode_otherwise_is_not_taken(made, monkeypatch):
    def wrong(data):
        found = mark(data)
        if found.state is not State.MARKED:
            return found
        return found._replace(data=mark(render("4:2:0 baseline", 45, 70)).data)

    known = by_webdataset(made)
    monkeypatch.setattr("fiberaug.jobs.seekable_shard.mark", wrong)
    done = run(made)
    assert by_webdataset(made) == known
    assert {one["reason"] for one in done.left if one["member"] != "k003.jpg"} == {
        "it would not decode to the same pixels"
    }
    assert not verify(str(made), progress=False).problems


def test_an_index_of_another_shard_is_refused_and_nothing_is_changed(made):
    first, second = sorted(made.glob("*.idx"))[:2]
    shard = first.with_name(first.stem)
    wrong = ShardIndex.open(second, shard="x")
    wrong.shard_bytes = shard.stat().st_size
    first.write_bytes(wrong.to_bytes())
    known = hashes(made)
    with pytest.raises(DataRefused, match="fiberaug index"):
        run(made)
    assert hashes(made) == known


def test_a_set_that_is_half_done_says_what_goes_on(made):
    (made / SEEKING).mkdir()
    for shards in (str(made), str(made / "*.tar"), [*map(str, made.glob("*.tar"))]):
        with pytest.raises(DataRefused, match=r"being made.*fiberaug seekable"):
            fiberaug.StreamingDataset(shards)
    run(made)
    assert not (made / SEEKING).exists()
    assert len(fiberaug.StreamingDataset(str(made), train=False)) == 45


def test_two_at_once_do_not_work_on_one_set(made, monkeypatch):
    monkeypatch.setattr("fiberaug.jobs.seekable._ENDED_S", 0.1)
    (made / SEEKING).mkdir()
    with FileLock(made / SEEKING / "lock"), pytest.raises(UsageError, match="another"):
        run(made)
    run(made)


def test_a_damaged_shard_is_named_and_the_others_go_on_later(made):
    path = sorted(made.glob("*.tar"))[1]
    content = path.read_bytes()
    path.write_bytes(content[:-2048])
    with pytest.raises(ShardDamaged, match=path.name):
        run(made)
    path.write_bytes(content)
    run(made)
    assert not verify(str(made), progress=False).problems


def test_arguments_are_checked(made):
    with pytest.raises(UsageError, match="workers"):
        run(made, workers=0)
    with pytest.raises(UsageError, match="remote"):
        make_seekable("https://example.com/a.tar")
    with pytest.raises(UsageError, match=r"no \.tar"):
        run(made.parent)


# Each step that leaves a trace on the disk, and the end of the process before it.
ENDED = """
import os, sys
from pathlib import Path
from fiberaug.jobs import seekable

def counted(act):
    def step(*args, **options):
        global left
        left -= 1
        if not left:
            os._exit(9)
        return act(*args, **options)
    return step

folder, most = Path(sys.argv[1]), int(sys.argv[2])
for owner, name in ((Path, "replace"), (Path, "unlink"), (Path, "rename"),
                    (Path, "mkdir"), (os, "fsync"), (os, "unlink"), (os, "rmdir")):
    setattr(owner, name, counted(getattr(owner, name)))
for step in range(1, most):
    child = os.fork()
    if not child:
        left = step
        seekable.make_seekable(str(folder / str(step)), workers=1, progress=False)
        os._exit(0)
    print(step, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.mark.slow
def test_an_end_before_any_step_is_made_good_by_the_next_run(tmp_path):
    whole = tmp_path / "whole"
    fiberaug.convert(photos(12), whole, shard_size="60kB", progress=False)
    assert len([*whole.glob("*.tar")]) >= 2
    most = 60
    for step in range(1, most):
        shutil.copytree(whole, tmp_path / str(step))
    words = [sys.executable, "-c", ENDED, str(tmp_path), str(most)]
    told = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    ends = dict(tuple(map(int, line.split())) for line in told.splitlines())
    plain = run(whole)
    expected = hashes(whole)
    killed = [step for step, code in ends.items() if code == 9]
    assert len(killed) > 15
    assert ends[most - 1] == 0, "there are fewer steps"
    for step, code in ends.items():
        folder = tmp_path / str(step)
        if (folder / SEEKING).exists():
            assert code == 9
            with pytest.raises(DataRefused, match="fiberaug seekable"):
                fiberaug.StreamingDataset(str(folder))
        else:
            assert len(fiberaug.StreamingDataset(str(folder), train=False)) == 12
            assert not verify(str(folder), progress=False).problems
        again = run(folder)
        assert hashes(folder) == expected, step
        assert [*folder.glob(".seekable*")] == []
        assert again.marked in {0, plain.marked}, "counted once, or finished before"


@pytest.mark.slow
def test_kills_at_random_moments_change_no_byte(tmp_path):
    whole = tmp_path / "whole"
    fiberaug.convert(photos(90, (150, 200)), whole, shard_size="300kB", progress=False)
    killed = tmp_path / "killed"
    shutil.copytree(whole, killed)
    words = [sys.executable, "-m", "fiberaug.cli.main", "seekable", str(killed)]
    words += ["--workers", "2"]
    rng, kills = random.Random(0), 0
    for _ in range(12):
        process = subprocess.Popen(
            words, start_new_session=True, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + 60
        while not (killed / SEEKING).exists() and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.25))
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            kills += 1
        process.wait()
    assert kills
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    run(whole)
    assert hashes(killed) == hashes(whole)
    assert not verify(str(killed), progress=False).problems


def epoch(shards, **options):
    import albumentations as A  # only where the data is

    data = fiberaug.StreamingDataset(
        str(shards), transform=A.Compose([A.RandomResizedCrop((64, 64))]), seed=3,
        **options,
    )  # fmt: skip
    loader = fiberaug.DataLoader(data, 16, num_workers=0)
    return {
        key: image.numpy()
        for batch in loader
        for key, image in zip(batch["__key__"], batch["image"], strict=True)
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", ["clothing-small/test", "big-photos"])
def test_an_epoch_of_real_photos_is_the_same(name, tmp_path):
    if not (DATA / name).is_dir():
        pytest.skip(f"{DATA / name} is not here")
    fiberaug.convert(DATA / name, tmp_path / "plain", progress=False)
    fiberaug.convert(DATA / name, tmp_path / "asked", seekable=True, progress=False)
    shutil.copytree(tmp_path / "plain", tmp_path / "inplace")
    done = run(tmp_path / "inplace")
    assert not done.left
    assert (
        hashes(tmp_path / "asked")["shard-000000.tar"]
        == (hashes(tmp_path / "inplace")["shard-000000.tar"])
    )
    old, new = by_webdataset(tmp_path / "plain"), by_webdataset(tmp_path / "asked")
    assert [*old] == [*new]
    for key, members in old.items():
        left, right = members["jpg"], new[key]["jpg"]
        assert (by_pil(left)[0] == by_pil(right)[0]).all()
        size = Image.open(io.BytesIO(left)).size
        window = (0, 0, *size)
        one, other = (turbo.decode_window(d, *size, window) for d in (left, right))
        assert (one == other).all()
        one, other = (fiberaug_pixels(d) for d in (left, right))
        assert (one == other).all()
    plain, asked = epoch(tmp_path / "plain"), epoch(tmp_path / "asked")
    assert plain.keys() == asked.keys()
    assert all((plain[key] == asked[key]).all() for key in plain)


def fiberaug_pixels(data):
    from fiberaug.decode.header import ImageLimits
    from fiberaug.decode.image import decode_image

    return decode_image(data, limits=ImageLimits())[0]
