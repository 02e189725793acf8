"""Ways from a file or a run to files: the mark is in what comes out."""

import json

import albumentations as A
import pytest
from foldered import FLIP, augmented
from marks import VOCABULARY, exiftool, made, packet, shard_members, stated
from PIL import Image
from sets import photo
from typer.testing import CliRunner

import fiberaug
from fiberaug.baking.materializing import materialize
from fiberaug.cli.main import app
from fiberaug.marking import COMPOSITE, PROCEDURAL, TRAINED, mark, read_mark

KINDS = ("png", "png-alpha", "jpeg", "jpeg-progressive", "webp", "webp-lossless")
FLIPPED = [A.HorizontalFlip(p=1)]
SUFFIXES = {".png", ".jpg", ".jpeg", ".webp"}


def pictures(folder):
    return [path for path in sorted(folder.rglob("*")) if path.suffix in SUFFIXES]


@pytest.mark.parametrize("encode", ["keep", "jpeg", "png", "webp"])
def test_augmenting_a_folder_keeps_marks(tmp_path, encode):
    folder = tmp_path / "in"
    folder.mkdir()
    for i, kind in enumerate(KINDS):
        data = mark(made(kind, photo(i), exif=True, xmp=packet()), COMPOSITE)
        (folder / f"{kind}.{kind.partition('-')[0]}").write_bytes(data)
    (folder / "photo.png").write_bytes(made("png", photo(9)))
    augmented(folder, tmp_path / "out", FLIP, copies=2, encode=encode)

    files = pictures(tmp_path / "out")
    assert len(files) == 2 * (len(KINDS) + 1)
    for path in files:
        asked = None if "photo" in path.name else COMPOSITE
        assert read_mark(path.read_bytes()) == asked
    for line in exiftool(tmp_path / "out", "-ext", "png", "-ext", "jpg",
                         "-ext", "jpeg", "-ext", "webp"):  # fmt: skip
        asked = None if "photo" in line["SourceFile"] else VOCABULARY + COMPOSITE
        assert line.get("DigitalSourceType") == asked
        assert "Warning" not in line


class Inverted(fiberaug.ImageProcessor):
    def _process(self, image):
        return 255 - image


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_an_own_operation_keeps_the_mark_of_a_file(tmp_path, kind):
    (tmp_path / "in").mkdir()
    for name, source_type in (("a", TRAINED), ("b", None)):
        data = made(kind, photo(3))
        data = data if source_type is None else mark(data, source_type)
        (tmp_path / "in" / f"{name}.{kind}").write_bytes(data)
        one = Inverted(input_path=tmp_path / "in", output_path=tmp_path / "out")
        done = one.process(f"{name}.{kind}")
        assert read_mark(done.read_bytes()) == source_type
    assert not [path for path in (tmp_path / "out").iterdir() if path.name[0] == "."]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run over marked samples, of which one is broken, and a photo."""
    folder = tmp_path_factory.mktemp("run")
    with fiberaug.ShardWriter(folder / "set") as writer:
        for i in range(6):
            data = made("jpeg", photo(i, 60, 70))
            data = data if i == 5 else mark(data, PROCEDURAL)
            data = data[:-300] if i == 2 else data
            writer.write({"__key__": f"k{i}", "image": data, "label": 0})
    dataset = fiberaug.StreamingDataset(
        folder / "set", transform=A.Compose([A.RandomCrop(32, 32, p=1)]), max_errors=1.0
    )
    with fiberaug.DataLoader(dataset, 2, log=folder / "log") as loader:
        for _ in loader:
            pass
    return folder


def called(*arguments):
    done = CliRunner().invoke(app, [str(one) for one in arguments])
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize(("key", "asked"), [("k1", PROCEDURAL), ("k5", None)])
@pytest.mark.parametrize("name", ["again.png", "again.jpg"])
def test_a_replayed_sample_has_the_mark_in_each_picture(
    run, tmp_path, key, asked, name
):
    called("replay", run / "log", "--key", key, "-o", tmp_path / name)
    files = pictures(tmp_path)

    assert len(files) == 3
    assert [read_mark(path.read_bytes()) for path in files] == [asked] * 3


def test_broken_samples_are_taken_out_as_they_are(run, tmp_path):
    called("quarantine", run / "log", "--extract", tmp_path)
    (path,) = pictures(tmp_path)
    assert read_mark(path.read_bytes()) == PROCEDURAL


def test_baking_marks_each_image_of_a_sample_by_its_own_source(tmp_path):
    with fiberaug.ShardWriter(tmp_path / "set") as writer:
        for i in range(4):
            writer.write({
                "__key__": f"k{i}", "label": 0, "image": made("png", photo(i)),
                "right.png": mark(made("png", photo(i + 50)), TRAINED),
                "json": {"provenance": stated(photo(i)).to_dict(), "group": "g"},
            })  # fmt: skip
    fields = {"image": "png", "right": "right.png", "label": "cls"}
    pipeline = A.Compose(FLIPPED, additional_targets={"right": "image"})
    materialize(tmp_path / "set", tmp_path / "baked", recipe=pipeline, fields=fields,
                workers=1, progress=False)  # fmt: skip
    found = shard_members(tmp_path / "baked")
    assert len(found) == 4
    for sample in found.values():
        assert read_mark(sample["png"]) is None
        assert read_mark(sample["right.png"]) == TRAINED
        notes = json.loads(sample["json"])
        assert notes["provenance"]["schema"] == "1.0"
        assert notes["group"] == "g"


def test_baking_a_mix_marks_what_was_mixed_in_and_nothing_else(tmp_path):
    """Though the shards of both sets have the same names."""
    for name, marked in (("photos", False), ("pool", True)):
        with fiberaug.ShardWriter(tmp_path / name) as writer:
            for i in range(12):
                data, notes = made("png", photo(i)), {"group": f"{name}-{i}"}
                if marked:
                    data = mark(data, TRAINED)
                    notes["provenance"] = stated(photo(i), i).to_dict()
                writer.write({"__key__": f"{name}{i:02d}", "image": data,
                              "label": i % 3, "json": notes})  # fmt: skip
    names = [{one.name for one in (tmp_path / n).glob("*.tar")}
             for n in ("photos", "pool")]  # fmt: skip
    assert names[0] == names[1]
    materialize(
        tmp_path / "photos", tmp_path / "baked", recipe=A.Compose(FLIPPED),
        mix=fiberaug.Mix(tmp_path / "pool", ratio=0.5), workers=1, progress=False,
    )  # fmt: skip

    found = shard_members(tmp_path / "baked")
    mixed = [key for key in found if "pool" in key]
    assert len(mixed) == 6
    assert len(found) == 12
    for key, sample in found.items():
        notes = json.loads(sample["json"])
        number = int(key[-2:])
        asked = TRAINED if key in mixed else None
        assert read_mark(sample["png"]) == asked
        assert notes["group"] == f"{'pool' if asked else 'photos'}-{number}"
        if asked:
            assert notes["provenance"]["params"]["seed"] == number
        else:
            assert "provenance" not in notes


def test_a_marked_file_is_the_same_picture_to_a_loader(tmp_path):
    for name, marked in (("plain", False), ("marked", True)):
        (tmp_path / name).mkdir()
        for i, kind in enumerate(KINDS):
            data = made(kind, photo(i, 300, 400), exif=True, icc=True)
            data = mark(data, TRAINED) if marked else data
            path = tmp_path / name / f"{kind}.{kind.partition('-')[0]}"
            path.write_bytes(data)
            with Image.open(path) as image:
                image.load()
    plain, marked = (
        list(fiberaug.StreamingDataset(
            tmp_path / name, train=False, transform=A.Compose([A.Crop(9, 7, 99, 88)]),
            cache_dir=tmp_path / "cache",
        ))
        for name in ("plain", "marked")
    )  # fmt: skip
    for one, other in zip(plain, marked, strict=True):
        assert (one["image"] == other["image"]).all()
