"""Laws of the examination: every planted fault is named, a sound set has none."""

import io
import os
import shutil
import tarfile
import unicodedata

import pytest
from sets import photo, samples

from fiberaug.checkup.epoch import Run
from fiberaug.checkup.examining import examine
from fiberaug.errors import SecurityRefused, UsageError
from fiberaug.jobs.encoding import encode_image
from fiberaug.jobs.indexing import index_shards

JPEG = encode_image(photo(1), "jpeg")


def write_tar(path, members):
    """Write a shard as other tools do; values are bytes, text, or None for an image."""
    with tarfile.open(path, "w") as tar:
        for name, value in members:
            data = JPEG if value is None else value
            data = data.encode() if isinstance(data, str) else data
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def pairs(names, label="1"):
    return [m for n in names for m in ((f"{n}.jpg", None), (f"{n}.cls", label))]


@pytest.fixture
def found(tmp_path):
    """A function (folder, options) -> findings by level and topic."""

    def run(shards, *, deep=False, recipe=None, index_dir=None, **options):
        run = Run(**{"workers": 1, "batch_size": 8} | options)
        findings = examine(
            shards, run, deep=deep, recipe=recipe, index_dir=index_dir, progress=False
        )
        topics = {}
        for one in findings:
            topics.setdefault(one.topic, []).append(one)
            assert one.level != "problem" or one.remedy, one
        return topics

    return run


@pytest.fixture
def folder(write_set, tmp_path):
    write_set(100, shard_size="20kB")
    return tmp_path / "set"


def problems(topics):
    return [one for found in topics.values() for one in found if one.level == "problem"]


def the_problem(topics):
    (one,) = problems(topics)
    return one


def unindexed(folder):
    """Take away all that a shard of another tool does not have."""
    for side_car in [*folder.glob("*.idx"), folder / "dataset.json"]:
        side_car.unlink(missing_ok=True)
    return folder


def test_a_sound_set_has_no_problem_and_its_figures_are_right(found, folder):
    topics = found(str(folder))

    assert problems(topics) == []
    size = sum(path.stat().st_size for path in folder.glob("*.tar"))
    shards = len(list(folder.glob("*.tar")))
    assert topics["samples"][0].figures == {
        "samples": 100, "shards": shards, "bytes": size,
    }  # fmt: skip
    assert topics["classes"][0].figures == {str(i): 25 for i in range(4)}
    assert topics["images"][0].figures["largest"] == (48, 40)
    assert topics["memory"][0].figures["batch_bytes"] == 8 * 48 * 40 * 3


def test_a_missing_shard_is_named(found, folder):
    (folder / "shard-000001.tar").unlink()

    one = the_problem(found(str(folder)))
    assert "1 shard, missing: shard-000001.tar (No such file" in one.text
    assert one.figures == {"missing": ["shard-000001.tar"]}


def test_a_shard_of_another_size_than_is_known_is_named(found, folder):
    with (folder / "shard-000001.tar").open("ab") as file:
        file.write(bytes(10240))

    with_manifest = the_problem(found(str(folder)))
    (folder / "dataset.json").unlink()
    without = the_problem(found(str(folder)))
    assert "its index says" in with_manifest.text
    assert "size differs: shard-000001.tar" in without.text


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda data: b"", "0 bytes"),
        (lambda data: data[:-700], "no multiple of 512"),
        (lambda data: data[:-10240], "end-of-archive mark is missing"),
        (lambda data: b"<html>".ljust(len(data)), "does not begin like a tar"),
        (lambda data: bytes(len(data)), "does not begin like a tar"),
        (lambda data: data[:148] + b"zz" + data[150:], "does not begin like a tar"),
    ],
    ids=["empty", "cut", "cut at a block", "a page", "zeros", "flipped"],
)
def test_a_damaged_shard_without_an_index_is_named(found, folder, damage, words):
    path = unindexed(folder) / "shard-000001.tar"
    path.write_bytes(damage(path.read_bytes()))

    one = the_problem(found(str(folder)))
    assert one.topic == "shards"
    assert "damaged: shard-000001.tar" in one.text
    assert words in one.text


def test_damage_in_the_middle_of_a_shard_without_an_index_is_named(found, folder):
    path = unindexed(folder) / "shard-000001.tar"
    data = bytearray(path.read_bytes())
    at = data.index(b"ustar", 5000) - 257  # a header in the middle
    data[at] ^= 1
    path.write_bytes(data)

    assert "shard-000001.tar" in the_problem(found(str(folder))).text


def test_a_set_without_any_index_runs_and_is_told_what_it_lacks(found, folder):
    topics = found(str(unindexed(folder)))

    assert problems(topics) == []
    assert topics["samples"][0].level == "note"
    assert "fiberaug index" in topics["samples"][0].remedy
    assert "steps" not in topics


def test_a_set_with_some_indexes_is_a_problem(found, folder):
    (folder / "dataset.json").unlink()
    (folder / "shard-000001.tar.idx").unlink()

    one = the_problem(found(str(folder)))
    assert one.topic == "samples"
    assert "(shard-000001.tar)" in one.text


def test_an_index_that_a_manifest_promises_and_that_is_gone_is_named(found, folder):
    (folder / "shard-000001.tar.idx").unlink()

    assert "there is none" in the_problem(found(str(folder))).text


@pytest.mark.parametrize("at", [0, 20, -1])
def test_a_damaged_index_is_named(found, folder, at):
    path = folder / "shard-000001.tar.idx"
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)

    one = the_problem(found(str(folder)))
    assert "shard-000001.tar" in one.text
    assert "checksum" in one.text or "no index" in one.text


def test_an_index_of_another_state_of_the_set_is_named(found, folder, write_set):
    """Of a shard with as many samples and bytes, and other labels."""
    other = write_set((s | {"label": 3 - s["label"]} for s in samples(100)), "other")
    write_set(100, name="one")
    shards = [folder.parent / name / "shard-000000.tar" for name in ("one", "other")]
    assert shards[0].stat().st_size == shards[1].stat().st_size
    shutil.copy(f"{other}/shard-000000.tar.idx", f"{shards[0]}.idx")

    one = the_problem(found(str(folder.parent / "one")))
    assert "shard-000000.tar (it is not the one that dataset.json knows)" in one.text


def test_an_index_that_is_older_than_its_shard_is_a_note(found, folder):
    os.utime(folder / "shard-000001.tar.idx", (1, 1))

    topics = found(str(folder))
    assert problems(topics) == []
    (one,) = topics["index"]
    assert "older than its shard: shard-000001.tar" in one.text


def test_indexes_can_lie_elsewhere(found, folder, tmp_path):
    unindexed(folder)
    index_shards(str(folder), index_dir=tmp_path / "indexes", progress=False)

    assert found(str(folder))["samples"][0].figures["samples"] is None
    topics = found(str(folder), index_dir=tmp_path / "indexes")
    assert topics["samples"][0].figures["samples"] == 100


def test_tars_that_the_manifest_does_not_list_are_told(found, folder):
    shutil.copy(folder / "shard-000000.tar", folder / "more.tar")

    topics = found(str(folder))
    assert "more.tar" in topics["dataset.json"][0].text
    assert topics["dataset.json"][0].level == "note"


def test_a_damaged_manifest_is_told_and_the_rest_is_still_looked_at(found, folder):
    (folder / "dataset.json").write_text("{")

    topics = found(str(folder))
    assert the_problem(topics).topic == "dataset.json"
    assert topics["samples"][0].figures["samples"] == 100


def test_two_shards_of_one_name_are_a_problem(found, folder, tmp_path):
    shutil.copytree(folder, tmp_path / "again")

    topics = found([f"{folder}/*.tar", f"{tmp_path}/again/*.tar"])
    assert any("stand twice: shard-000000.tar" in one.text for one in problems(topics))


def test_a_short_shard_is_a_note_but_the_last_may_be(found, tmp_path):
    for i, count in enumerate([40, 40, 2, 40, 3]):
        names = [f"{i}-{j}" for j in range(count)]
        write_tar(tmp_path / f"s{i}.tar", pairs(names))
    index_shards(f"{tmp_path}/*.tar", progress=False)

    (one,) = found(f"{tmp_path}/*.tar")["lengths"]
    assert one.level == "note"
    assert "far below: s2.tar (2)" in one.text
    assert "s4" not in one.text


def test_one_key_in_two_shards_is_named(found, tmp_path):
    write_tar(tmp_path / "a.tar", pairs(["x", "both"]))
    write_tar(tmp_path / "b.tar", pairs(["y", "both"]))

    one = the_problem(found(f"{tmp_path}/*.tar"))
    assert one.topic == "keys"
    assert "both (a.tar, b.tar)" in one.text


def test_one_name_in_two_unicode_forms_is_named(found, tmp_path):
    name = "caf\u00e9"
    write_tar(tmp_path / "a.tar", pairs([unicodedata.normalize("NFC", name)]))
    write_tar(tmp_path / "b.tar", pairs([unicodedata.normalize("NFD", name)]))

    assert "differ only in Unicode form" in the_problem(found(f"{tmp_path}/*.tar")).text


def test_keys_that_differ_in_case_are_a_note(found, tmp_path):
    write_tar(tmp_path / "a.tar", pairs(["Img1", "img1"]))

    topics = found(f"{tmp_path}/*.tar")
    assert problems(topics) == []
    assert "Img1 = img1" in topics["keys"][0].text


def test_two_members_that_differ_in_the_case_of_the_extension_are_named(
    found, tmp_path
):
    write_tar(tmp_path / "a.tar", [("a.JPG", None), ("a.jpg", None)])

    topics = found(f"{tmp_path}/*.tar")
    assert "two members .jpg (key a)" in the_problem(topics).text


def test_names_with_dots_that_merge_into_one_sample_are_named(found, tmp_path):
    members = [("img.001.jpg", None), ("img.001.cls", "1"), ("img.002.jpg", None)]
    write_tar(tmp_path / "a.tar", [("first.jpg", None), *members])

    first, second = problems(found(f"{tmp_path}/*.tar"))
    assert "no image, such as img of a.tar" in first.text
    assert "merged into one sample by a dot in their names: img of" in second.text
    assert "img_001.jpg" in second.remedy


def test_a_sample_without_its_label_is_named(found, tmp_path):
    write_tar(tmp_path / "a.tar", [*pairs(["a", "b"]), ("c.jpg", None)])

    one = the_problem(found(f"{tmp_path}/*.tar"))
    assert one.figures == {"label": 1}
    assert "no label, such as c of a.tar" in one.text


def test_an_empty_class_is_named(found, tmp_path):
    write_tar(tmp_path / "a.tar", pairs(["a", "b"], "0") + pairs(["c"], "2"))
    index_shards(f"{tmp_path}/a.tar", progress=False)

    one = the_problem(found(f"{tmp_path}/*.tar"))
    assert one.topic == "classes"
    assert one.text.endswith("empty: 1")


def test_a_large_set_is_only_looked_into_here_and_there_unless_asked(
    found, folder, monkeypatch
):
    monkeypatch.setattr("fiberaug.checkup.contents._MOST_SAMPLES", 40)
    monkeypatch.setattr("fiberaug.checkup.contents._SPREAD", 2)

    assert "--deep" in found(str(folder))["fields"][0].text
    deep = found(str(folder), deep=True)
    assert "--deep" not in deep["fields"][0].text
    assert deep["keys"][0].text == "100, no two alike"


def test_memory_is_that_of_a_batch_of_the_recipe(found, folder, tmp_path):
    recipe = tmp_path / "r.yaml"
    recipe.write_text("version: 1\ncpu: [{Resize: {height: 64, width: 32}}]\n")

    (one,) = found(str(folder), recipe=recipe)["memory"]
    assert one.figures["batch_bytes"] == 8 * 64 * 32 * 3
    assert "made with the recipe" in one.text


def test_a_recipe_that_leaves_sizes_apart_is_a_problem(found, tmp_path, write_set):
    write_set(
        {"__key__": f"k{i}", "image": photo(i, 40 + i), "label": 0} for i in range(9)
    )
    recipe = tmp_path / "r.yaml"
    recipe.write_text("version: 1\ncpu: [{HorizontalFlip: {}}]\n")

    one = the_problem(found(str(tmp_path / "set"), recipe=recipe))
    assert one.topic == "recipe"
    assert "different sizes" in one.text


def test_batches_that_do_not_fit_into_memory_are_a_problem(found, folder):
    topics = found(str(folder), workers=10_000, batch_size=100_000)

    names = {one.topic for one in problems(topics)}
    assert {"memory", "files"} <= names
    assert topics["cpus"][0].level == "note"


@pytest.mark.parametrize(
    ("name", "value", "level"),
    [
        ("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1", "problem"),
        ("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "0", None),
        ("PYTHONHTTPSVERIFY", "0", "problem"),
        ("PYTHONHTTPSVERIFY", "1", None),
        ("KMP_DUPLICATE_LIB_OK", "TRUE", "problem"),
        ("RANK", "0", "problem"),
    ],
)
def test_dangerous_settings_are_named(found, folder, monkeypatch, name, value, level):
    for other in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, value)

    lines = found(str(folder)).get("settings", [])
    assert [line.level for line in lines] == ([level] if level else [])
    assert all(name in line.text for line in lines)


def test_the_other_albumentations_is_named(found, folder, tmp_path, monkeypatch):
    info = tmp_path / "site/albumentationsx-2.1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Name: albumentationsx\nVersion: 2.1.0\n")
    monkeypatch.syspath_prepend(info.parent)

    one = the_problem(found(str(folder)))
    assert "albumentationsx (AGPL) is installed" in one.text


def test_what_is_no_description_is_refused(found, tmp_path):
    with pytest.raises(UsageError, match="fiberaug convert"):
        found(str(tmp_path))
    with pytest.raises(SecurityRefused):
        found("pipe:cat a.tar")
    with pytest.raises(UsageError, match="batch_size"):
        found(str(tmp_path), batch_size=0)


def test_a_set_of_which_nothing_can_be_read_is_still_told(found, tmp_path):
    (tmp_path / "a.tar").write_bytes(b"")

    topics = found(f"{tmp_path}/a.tar")
    assert [one.topic for one in problems(topics)] == ["shards", "samples"]
