"""Laws of folders: which files are images, of which class, under which key."""

import os
import unicodedata

import pytest

from fiberaug.errors import DataRefused, StoreError, UsageError
from fiberaug.jobs.sources.folder import check_classes, list_folder
from fiberaug.jobs.sources.options import SourceOptions
from fiberaug.shards.writer import check_key


def made(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode("utf-8", "surrogateescape"))
    return folder


def keys(folder, classes=None):
    return [
        (item.key, item.label)
        for item in list_folder(folder, SourceOptions(classes=classes)).items
    ]


def test_the_first_folder_is_the_class(tmp_path):
    made(tmp_path, "dog/b.jpg", "dog/a.PNG", "cat/deep/er/c.jpeg", "cat/notes.txt")
    found = list_folder(tmp_path, SourceOptions())
    items = found.items

    assert found.classes == ("cat", "dog")
    assert [(i.key, i.label) for i in items] == [
        ("cat/deep/er/c", 0),
        ("dog/a", 1),
        ("dog/b", 1),
    ]
    assert items[1].place == "dog/a.PNG"
    assert found.root == str(tmp_path)
    assert items[1].size == len("dog/a.PNG")


def test_a_flat_folder_has_no_labels(tmp_path):
    made(tmp_path, "b.jpg", "a.webp")

    assert list_folder(tmp_path, SourceOptions()).classes == ()
    assert keys(tmp_path) == [("a", None), ("b", None)]


def test_a_stray_image_beside_class_folders_is_refused(tmp_path):
    made(tmp_path, "dog/b.jpg", "stray.jpg")

    with pytest.raises(DataRefused, match=r"stray\.jpg lies beside .*dog"):
        list_folder(tmp_path, SourceOptions())


def test_hidden_files_and_other_files_are_passed_over(tmp_path):
    made(tmp_path, "dog/b.jpg", ".hidden.jpg", "dog/._b.jpg", ".cache/x.jpg",
         "README.md", "dog/b.jpg.txt", "dog/jpg")  # fmt: skip

    assert keys(tmp_path) == [("dog/b", 0)]


def test_links_that_leave_the_folder_are_passed_over(tmp_path):
    outside = made(tmp_path / "outside", "secret.jpg")
    inside = made(tmp_path / "inside", "dog/a.jpg")
    (inside / "dog" / "b.jpg").symlink_to(outside / "secret.jpg")
    (inside / "dog" / "c.jpg").symlink_to(inside / "dog" / "a.jpg")
    (inside / "dog" / "nowhere.jpg").symlink_to(inside / "gone.jpg")
    (inside / "dog" / "loop.jpg").symlink_to(inside / "dog" / "loop.jpg")
    (inside / "cat").symlink_to(outside)

    assert keys(inside) == [("dog/a", 0), ("dog/c", 0)]


def test_a_folder_of_links_says_why_it_has_no_image(tmp_path):
    outside = made(tmp_path / "outside", "a.jpg", "b.jpg")
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "a.jpg").symlink_to(outside / "a.jpg")
    (inside / "dog").symlink_to(outside)

    with pytest.raises(DataRefused, match="passed over: 2 links out of it or"):
        list_folder(inside, SourceOptions())


def test_what_was_passed_over_and_not_read_is_said(tmp_path):
    made(tmp_path, "cat/a.jpg", "cat/a.json", "labels.csv", "notes.md")
    (tmp_path / "cat/gone.jpg").symlink_to(tmp_path / "nowhere.jpg")

    assert list_folder(tmp_path, SourceOptions()).said == (
        "1 image in 1 class folder; passed over: 1 link out of it or to nothing;"
        " not read: 1 .csv, 1 .json (--from says what they are)"
    )


def test_two_files_of_one_name_get_two_keys(tmp_path):
    made(tmp_path, "a.jpg", "a.png", "a-2.jpg", "a.webp", "b.jpg")

    found = [key for key, _ in keys(tmp_path)]

    assert len(set(found)) == 5
    assert found == [key for key, _ in keys(tmp_path)]
    assert {"a", "a-2", "b"} < set(found)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("img.v2.final.jpg", "img%2Ev2%2Efinal"),
        ("50%.jpg", "50%25"),
        ("a b.jpg", "a b"),
        ("Größe.jpg", "Größe"),
        ("光.jpg", "光"),
        ("a\\b.jpg", "a%5Cb"),
        ("tab\t.jpg", "tab%09"),
        ("line\nfeed.jpg", "line%0Afeed"),
        ("caf\udce9.jpg", "caf%E9"),
        ("c:1.jpg", "c%3A1"),
        ("__init__.jpg", "__init__"),
        ("v1.2/a.jpg", "v1.2/a"),
        ("a\\b/c.jpg", "a%5Cb/c"),
        ("caf\udce9/c.jpg", "caf%E9/c"),
    ],
    ids=list("abcdefghijklmn"),
)
def test_any_file_name_becomes_a_key_that_is_read_back(tmp_path, name, key):
    made(tmp_path, name)

    ((found, _),) = keys(tmp_path)

    assert found == key
    check_key(found, {"jpg": b""})


def test_both_ways_to_write_an_accent_are_one_name(tmp_path):
    """On macOS names are written otherwise than everywhere else."""
    nfc = "Ärger é"
    nfd = unicodedata.normalize("NFD", nfc)
    made(tmp_path, f"{nfc}/{nfc}.jpg", f"{nfd}/{nfd}.jpg")
    found = list_folder(tmp_path, SourceOptions())

    assert found.classes == (nfc,)
    assert sorted(item.key for item in found.items) == [
        f"{nfc}/{nfc}",
        f"{nfc}/{nfc}-2",
    ]
    assert list_folder(tmp_path, SourceOptions(classes=[nfd])).classes == (nfc,)


def test_given_classes_set_the_ids(tmp_path):
    made(tmp_path, "dog/b.jpg", "cat/a.jpg")

    assert keys(tmp_path, ["dog", "bird", "cat"]) == [("cat/a", 2), ("dog/b", 0)]
    with pytest.raises(UsageError, match=r"\['cat'\] are none of the classes"):
        list_folder(tmp_path, SourceOptions(classes=["dog"]))


@pytest.mark.parametrize("classes", [["a", "b", "a"], ["\u00e9", "e\u0301"], "ab", [1]])
def test_class_names_are_a_list_without_doubles(classes):
    with pytest.raises(UsageError, match="classes"):
        check_classes(classes)


def test_no_folder_and_no_image_are_two_errors(tmp_path):
    with pytest.raises(UsageError, match="no folder"):
        list_folder(tmp_path / "gone", SourceOptions())
    with pytest.raises(DataRefused, match="no image: avif, bmp, gif, heic"):
        list_folder(tmp_path, SourceOptions())


def test_a_folder_that_cannot_be_read_is_not_passed_over(tmp_path, monkeypatch):
    made(tmp_path, "dog/b.jpg", "cat/a.jpg")
    real = os.scandir

    def scandir(path):
        if str(path).endswith("cat"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(StoreError, match="cat: Permission denied"):
        list_folder(tmp_path, SourceOptions())
