"""JPEGs get restart markers without loss, and what cannot have any stays as it is."""

import io
import os
import stat
import subprocess
import sys
import textwrap

import cv2
import numpy as np
import pytest
from PIL import Image
from rendered_jpegs import KINDS, render, segments, soft_noise

from fiberaug.decode import turbo
from fiberaug.decode.header import read_header
from fiberaug.decode.opencv import decode_rgb
from fiberaug.decode.restarts import read_layout
from fiberaug.jobs.restarting import State, mark, mark_members

needs_turbo = pytest.mark.skipif(not turbo.available(), reason=turbo.why_not())
PLAIN = render("4:2:0 baseline", 60, 90)


def saved(pixels, kind, mode=None, **options):
    file = io.BytesIO()
    Image.fromarray(pixels, mode).save(file, kind, **options)
    return file.getvalue()


def arithmetic(data):
    """The header of a JPEG in arithmetic coding: nobody needs to decode it here."""
    at = data.index(b"\xff\xc0")
    return data[:at] + b"\xff\xc9" + data[at + 2 :]


def deep(data):
    at = data.index(b"\xff\xc0")
    return data[: at + 4] + b"\x0c" + data[at + 5 :]


@needs_turbo
@pytest.mark.parametrize("kind", KINDS)
def test_all_kinds_become_seekable_and_keep_pixels_and_segments(kind):
    data = render(kind, 45, 70, seed=4)
    found = mark(data)
    layout = read_layout(found.data)
    assert layout is not None
    assert found.sound
    if found.state is State.ALREADY:
        assert found.data is data
        return
    assert found.state is State.MARKED
    assert layout.columns == 1  # of a small image
    header = read_header(data)
    assert (decode_rgb(found.data, header) == decode_rgb(data, header)).all()
    told = [one for one in segments(data) if 0xE0 <= one[0] <= 0xFE]
    assert [one for one in segments(found.data) if 0xE0 <= one[0] <= 0xFE] == told
    assert mark(found.data) == found._replace(state=State.ALREADY)


@needs_turbo
def test_a_large_photo_has_about_four_segments_a_row():
    data = cv2.imencode(".jpg", soft_noise(0, 1024, 1280))[1].tobytes()  # 80 units
    assert read_layout(mark(data).data).columns == 4


LEFT = {
    "cut off": PLAIN[: len(PLAIN) * 2 // 3],
    "a wrong byte": PLAIN[:-60] + b"\xff\xd9" + PLAIN[-58:],
    "CMYK": saved(np.dstack([soft_noise(3, 40, 60)] * 2)[:, :, :4], "JPEG", "CMYK"),
    "arithmetic coding": arithmetic(PLAIN),
    "12 bits": deep(PLAIN),
    "a header alone": PLAIN[:30],
    "larger than the limits": PLAIN.replace(
        b"\x00\x3c\x00\x5a", b"\xff\x00\xff\x00", 1
    ),
}


@needs_turbo
@pytest.mark.parametrize("name", LEFT)
def test_what_cannot_have_markers_is_left_and_says_why(name):
    assert mark(PLAIN).state is State.MARKED
    found = mark(LEFT[name])
    assert found.state is State.LEFT
    assert found.data is LEFT[name]
    assert found.reason
    assert not found.sound


def test_other_files_are_not_touched():
    png = saved(soft_noise(0, 20, 30), "PNG")
    members = {"png": png, "cls": b"3", "seg.jpg": b"\x89PNG as jpg"}
    done, found = mark_members(members)
    assert done == members
    assert [*found] == ["seg.jpg"]
    assert found["seg.jpg"].state is State.OTHER


@needs_turbo
def test_every_jpeg_of_a_sample_is_marked_under_its_own_name():
    members = {"left.jpg": PLAIN, "json": b"{}", "right.jpeg": render(KINDS[1], 30, 40)}
    done, found = mark_members(members)
    assert [*done] == [*members]
    assert {one.state for one in found.values()} == {State.MARKED}
    assert done["json"] == b"{}"


PROGRAM = """
    #!{python}
    import os, sys
    assert sys.argv[1:5] == ["-copy", "all", "-optimize", "-restart"], sys.argv
    assert sys.argv[5].endswith("B")
    interval = int(sys.argv[5][:-1])
    os.environ.pop("FIBERAUG_JPEG")
    from fiberaug.decode import turbo
    data = turbo.with_restarts(sys.stdin.buffer.read(), interval_mcus=interval)
    if data is None:
        sys.exit("Premature end of JPEG file")
    sys.stdout.buffer.write(data)
"""
MARK = """
    import sys
    from pathlib import Path
    from fiberaug.jobs.restarting import check_tool, mark
    if sys.argv[1] == "check":
        check_tool()
    found = mark(Path(sys.argv[2]).read_bytes())
    Path(sys.argv[3]).write_bytes(found.data)
    print(found.state.value, found.sound)
"""


def marked_alone(folder, data, *, check=True):
    """Return what a process says and makes that has no module, and PATH = folder."""
    source, target = folder / "source", folder / "target"
    source.write_bytes(data)
    environment = {**os.environ, "FIBERAUG_JPEG": "opencv", "PATH": str(folder)}
    words = [sys.executable, "-c", textwrap.dedent(MARK), "check" if check else "-"]
    done = subprocess.run(
        [*words, str(source), str(target)], env=environment, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    return done, target.read_bytes() if done.returncode == 0 else None


def test_without_a_tool_both_remedies_are_named(tmp_path):
    done, _ = marked_alone(tmp_path, PLAIN)
    assert done.returncode
    assert "fiberaug[fast]" in done.stderr
    assert "jpegtran" in done.stderr
    done, data = marked_alone(tmp_path, PLAIN, check=False)
    assert (done.stdout.strip(), data) == ("left False", PLAIN)


@needs_turbo
def test_the_program_jpegtran_stands_in_for_the_module(tmp_path):
    program = tmp_path / "jpegtran"
    program.write_text(textwrap.dedent(PROGRAM).strip().format(python=sys.executable))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    done, data = marked_alone(tmp_path, PLAIN)
    assert done.stdout.strip() == "marked True"
    assert data == mark(PLAIN).data
    done, _ = marked_alone(tmp_path, LEFT["cut off"])
    assert done.stdout.strip() == "left False"
