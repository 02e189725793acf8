"""A folder that is converted is all that is read: no link and no list leads out."""

import os

import pytest
from sets import photo

import fiberaug
from fiberaug.errors import DataRefused, SampleBroken, UsageError
from fiberaug.jobs.encoding import encode_image
from fiberaug.jobs.sources.folder import list_folder
from fiberaug.jobs.sources.options import SourceOptions


@pytest.fixture
def folder(tmp_path):
    """One photo inside, a secret outside, and every kind of link between them."""
    outside, root = tmp_path / "outside", tmp_path / "photos"
    (outside / "deep").mkdir(parents=True)
    for name in ("secret.jpg", "deep/secret.jpg"):
        (outside / name).write_bytes(encode_image(photo(9), "jpeg"))
    (root / "cat").mkdir(parents=True)
    (root / "cat/a.jpg").write_bytes(encode_image(photo(1), "jpeg"))
    (root / "cat/file.jpg").symlink_to(outside / "secret.jpg")
    (root / "cat/relative.jpg").symlink_to("../../outside/secret.jpg")
    (root / "cat/up").symlink_to("..", target_is_directory=True)
    (root / "cat/out").symlink_to(outside, target_is_directory=True)
    (root / "dog").symlink_to(outside, target_is_directory=True)
    (root / "cat/loop").symlink_to(root / "cat", target_is_directory=True)
    (root / "cat/dangling.jpg").symlink_to("/nowhere.jpg")
    (root / "cat/twice.jpg").symlink_to(root / "cat/file.jpg")
    return root


def test_no_link_of_a_folder_leads_out_and_no_loop_is_walked(folder, tmp_path):
    found = list_folder(folder, SourceOptions())
    items, classes = found.items, found.classes
    assert [item.key for item in items] == ["cat/a"]
    assert classes == ("cat",)

    fiberaug.convert(folder, tmp_path / "set", workers=1, progress=False)
    content = b"".join(p.read_bytes() for p in (tmp_path / "set").glob("*.tar"))
    assert (folder / "cat/a.jpg").read_bytes() in content
    assert (tmp_path / "outside/secret.jpg").read_bytes() not in content


def test_a_link_inside_of_the_folder_is_an_image(folder):
    """What the user put there may be read: it is in the folder."""
    (folder / "cat/again.jpg").symlink_to("a.jpg")
    items = list_folder(folder, SourceOptions()).items

    assert [item.key for item in items] == ["cat/a", "cat/again"]


def test_a_folder_of_links_that_lead_out_says_so(folder, tmp_path):
    (folder / "cat/a.jpg").unlink()
    with pytest.raises(DataRefused, match="passed over: 8 links out of it"):
        fiberaug.convert(folder, tmp_path / "set", progress=False)


def test_a_fifo_or_a_device_is_not_opened(folder, tmp_path):
    """Opening a pipe nobody writes to would wait for ever."""
    os.mkfifo(folder / "cat/pipe.jpg")
    (folder / "cat/null.jpg").symlink_to("/dev/zero")
    items = list_folder(folder, SourceOptions()).items

    assert [item.key for item in items] == ["cat/a"]


def test_nothing_is_written_through_a_link_or_beside_other_files(folder, tmp_path):
    target = tmp_path / "home"
    target.mkdir()
    (target / "thesis.tex").write_text("precious")
    (tmp_path / "set").symlink_to(target, target_is_directory=True)
    with pytest.raises(UsageError, match="not empty"):
        fiberaug.convert(folder, tmp_path / "set", progress=False)
    with pytest.raises(UsageError, match="inside of"):
        fiberaug.convert(folder, folder / "cat/up/cat/shards", progress=False)

    assert (target / "thesis.tex").read_text() == "precious"


def test_an_image_that_is_a_script_for_another_program_is_refused(tmp_path):
    """Pillow's EPS plugin would start a program, its others would read files."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.jpg").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"
    )
    (tmp_path / "in/b.png").write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
    with pytest.raises(SampleBroken, match="none of 2 samples can be read"):
        fiberaug.convert(tmp_path / "in", tmp_path / "set", progress=False)
