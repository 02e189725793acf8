"""The mark stands in the file, and nothing else of the file is another."""

import io
import shutil
import subprocess
import tracemalloc

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from marks import IPTC, KINDS, VOCABULARY, exiftool, foreign, itxt, made, packet
from PIL import Image
from sets import DATA, photo

from fiberaug.errors import DataRefused, SampleBroken, UsageError
from fiberaug.marking import (
    COMPOSITE,
    PROCEDURAL,
    SOURCE_TYPES,
    TRAINED,
    carry,
    mark,
    read_mark,
)  # fmt: skip

HOSTILE = DATA / "hostile-image-rs"
FORMS = (  # of the property, as other programs write it
    ("", f'e:DigitalSourceType="{VOCABULARY}digitalCapture"'),
    (f"<e:DigitalSourceType>{VOCABULARY}digitalCapture</e:DigitalSourceType>", ""),
    (f"<e:DigitalSourceType r:resource='{VOCABULARY}print'/>", ""),
    ("<e:DigitalSourceType></e:DigitalSourceType>", ""),
    ("<e:DigitalSourceType/>", ""),
    (f'<q:DigitalSourceType xmlns:q="{IPTC}">x</q:DigitalSourceType>', ""),
    ('<o:DigitalSourceType xmlns:o="urn:other">x</o:DigitalSourceType>', ""),
)
pictures = st.builds(photo, st.integers(0, 99), st.integers(1, 70), st.integers(1, 70))
files = st.builds(
    made,
    st.sampled_from(KINDS),
    pictures,
    exif=st.booleans(),
    icc=st.booleans(),
    xmp=st.none() | st.sampled_from([packet(*form) for form in FORMS]),
    after=st.sampled_from([b"", b"what a phone puts behind"]),
)
types = st.sampled_from(sorted(SOURCE_TYPES))


def xmp_of(data):
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        found = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")
    return found.encode() if isinstance(found, str) else found


@settings(max_examples=150, deadline=None)
@given(files, types, types)
def test_a_mark_is_read_back_and_nothing_else_is_another(data, first, second):
    assert read_mark(data) is None
    marked = mark(data, first)

    assert read_mark(marked) == first
    assert read_mark(memoryview(marked)) == first
    assert mark(marked, first) == marked
    assert foreign(marked) == foreign(data)
    again = mark(marked, second)
    assert read_mark(again) == second
    assert mark(again, first) == marked
    for flags in (cv2.IMREAD_UNCHANGED, cv2.IMREAD_COLOR):
        before, after = (
            cv2.imdecode(np.frombuffer(one, np.uint8), flags) for one in (data, again)
        )
        assert np.array_equal(before, after)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(KINDS), st.sampled_from(FORMS), types)
def test_what_other_programs_say_in_xmp_stays(kind, form, source_type):
    before = packet(*form)
    data = mark(made(kind, photo(1), xmp=before), source_type)
    found = xmp_of(data).rstrip(b"\0")

    assert found.count(b"newscodes/digitalsourcetype/") == 1
    start, end = found.split(b"<dc:creator>")
    assert b'dc:format="image/x &amp; &quot;y&quot;"' in start
    assert "Ähm &lt;B&gt;".encode() in end
    assert found.endswith(before[-300:].split(b"</r:RDF>")[1])
    assert (b"urn:other" in found) == ("urn:other" in form[0])


def test_values_of_other_vocabularies_are_no_mark():
    for value in ("digitalCapture", "", "x" * 5000, "http://a/b/trained"):
        inside = f"<e:DigitalSourceType>{value}</e:DigitalSourceType>"
        assert read_mark(made("png", photo(0), xmp=packet(inside))) is None
    inside = f"<e:DigitalSourceType> {VOCABULARY}{TRAINED}\n</e:DigitalSourceType>"
    assert read_mark(made("jpeg", photo(0), xmp=packet(inside))) == TRAINED
    resource = f'<e:DigitalSourceType r:resource="{VOCABULARY}{COMPOSITE}"/>'
    assert read_mark(made("webp", photo(0), xmp=packet(resource))) == COMPOSITE
    nested = f"<dc:a r:parseType='Resource'>{inside}</dc:a>"
    assert read_mark(made("png", photo(0), xmp=packet(nested))) is None


def test_compressed_xmp_of_a_png_is_read_and_replaced():
    plain = made("png", photo(3))
    inside = f"<e:DigitalSourceType>{VOCABULARY}{TRAINED}</e:DigitalSourceType>"
    data = plain[:33] + itxt(packet(inside), packed=True) + plain[33:]

    assert read_mark(data) == TRAINED
    assert read_mark(mark(data, PROCEDURAL)) == PROCEDURAL
    assert mark(data, PROCEDURAL).count(b"XML:com.adobe.xmp") == 1
    bomb = plain[:33] + itxt(bytes(64 << 20), packed=True) + plain[33:]
    tracemalloc.start()
    try:
        assert read_mark(bomb) is None
        assert tracemalloc.get_traced_memory()[1] < 8 << 20  # bytes
    finally:
        tracemalloc.stop()


def test_a_packet_that_is_full_gives_its_padding_and_no_more():
    room = 65_533 - 29
    body = packet("<dc:a>" + "y" * (room - 900) + "</dc:a>")
    padded = body.replace(b"\n    ", b"\n" + b" " * (room - len(body)), 1)
    data = made("jpeg", photo(1))
    for full, fits in ((padded, True), (body.replace(b"yyyy", b"y" * 5, 200), False)):
        segment = b"http://ns.adobe.com/xap/1.0/\0" + full
        head = b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big")
        one = data[:2] + head + segment + data[2:]
        if fits:
            assert read_mark(mark(one, TRAINED)) == TRAINED
        else:
            with pytest.raises(SampleBroken, match="65504"):
                mark(one, TRAINED)


def test_xmp_that_is_none_is_told_and_not_overwritten():
    bomb = b'<!DOCTYPE a [<!ENTITY b "bb">]><a>&b;DigitalSourceType</a>'
    deep = b"<DigitalSourceType>" + b"<a>" * 9000
    entity = (
        b'<!DOCTYPE a [<!ENTITY b "c">]>'
        + packet("<e:DigitalSourceType/>").partition(b"?>\n")[2]
    )
    for xmp in (
        b"no xml",
        bomb,
        entity,
        b"<a>DigitalSourceType</a>",
        deep,
        b"<a \xff/>",
    ):
        data = made("webp", photo(2), xmp=xmp)
        assert read_mark(data) is None
        with pytest.raises(SampleBroken, match="its XMP is unsound"):
            mark(data, TRAINED)


def test_a_jpeg_has_its_mark_behind_exif_and_before_all_else():
    plain = made("jpeg", photo(1), exif=True, icc=True)
    data = mark(plain, TRAINED)
    order = [data.find(one) for one in (b"Exif\0", b"ns.adobe.com/xap", b"ICC_PROFILE")]
    assert order == sorted(order)
    assert order[0] > 0
    png = mark(made("png", photo(1)), TRAINED)
    assert 0 < png.find(b"XML:com.adobe.xmp") < png.find(b"IDAT")


@pytest.mark.parametrize("kind", KINDS)
def test_what_stands_behind_an_image_stays(kind):
    marked = mark(made(kind, photo(1), after=b"a film of 3 s"), TRAINED)
    assert marked.endswith(b"a film of 3 s")
    assert mark(marked, COMPOSITE).endswith(b"a film of 3 s")


def test_what_cannot_be_marked_is_told_with_what_can():
    for name in ("BMP", "TIFF", "GIF", "PPM"):
        file = io.BytesIO()
        Image.fromarray(photo(0)).save(file, name)
        assert read_mark(file.getvalue()) is None
        with pytest.raises(UsageError, match="only PNG, JPEG and WebP"):
            mark(file.getvalue(), TRAINED)
    with pytest.raises(UsageError, match="digitalCapture"):
        mark(made("png", photo(0)), "digitalCapture")
    with pytest.raises(UsageError, match="only PNG"):
        mark(b"", TRAINED)


def test_a_mark_is_carried_to_what_is_encoded_anew():
    fresh = made("webp", photo(2))
    assert carry(made("png", photo(1)), fresh) is fresh
    assert carry(mark(made("jpeg", photo(1)), COMPOSITE), fresh) == mark(
        fresh, COMPOSITE
    )


@settings(max_examples=300, deadline=None)
@given(files, st.data())
def test_broken_files_are_refused_or_keep_their_pixels(data, draw):
    marked = mark(data, TRAINED) if draw.draw(st.booleans()) else data
    broken = bytearray(marked[: draw.draw(st.integers(0, len(marked)))])
    for _ in range(draw.draw(st.integers(0, 4))):
        if broken:
            at = draw.draw(st.integers(0, min(len(broken), 200) - 1))
            broken[at] = draw.draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xDA, 0xFF]))
    keeps_pixels(bytes(broken))


def keeps_pixels(data):
    found = read_mark(data)
    assert found is None or found in SOURCE_TYPES
    try:
        marked = mark(data, PROCEDURAL)
    except (UsageError, DataRefused):
        return
    assert read_mark(marked) == PROCEDURAL
    flags = cv2.IMREAD_UNCHANGED
    before, after = (
        cv2.imdecode(np.frombuffer(one, np.uint8), flags) for one in (data, marked)
    )
    assert (before is None) == (after is None)
    assert before is None or np.array_equal(before, after)


@pytest.mark.skipif(not HOSTILE.exists(), reason="the hostile files are not here")
def test_hostile_files_are_refused_or_keep_their_pixels():
    paths = [path for path in HOSTILE.rglob("*") if path.is_file()]
    assert paths
    for path in paths:
        if path.stat().st_size < 4 << 20:
            keeps_pixels(path.read_bytes())


@pytest.mark.parametrize("xmp", [None, packet()], ids=["plain", "with-xmp"])
def test_exiftool_reads_the_mark_and_has_nothing_new_to_say(tmp_path, xmp):
    before, after = tmp_path / "before", tmp_path / "after"
    for folder in (before, after):
        folder.mkdir()
    for kind in KINDS:
        data = made(kind, photo(4), exif=True, icc=kind != "jpeg-gray", xmp=xmp)
        suffix = "jpg" if kind.startswith("jpeg") else kind.partition("-")[0]
        (before / f"{kind}.{suffix}").write_bytes(data)
        (after / f"{kind}.{suffix}").write_bytes(mark(data, TRAINED))
    plain, marked = exiftool(before), exiftool(after)

    assert len(marked) == len(plain) == len(KINDS)
    for old, new in zip(plain, marked, strict=True):
        assert new["DigitalSourceType"] == VOCABULARY + TRAINED
        assert new.get("Warning") in {None, old.get("Warning")}, new
        assert "DigitalSourceType" not in old


def test_programs_of_the_formats_find_no_fault(tmp_path):
    webpinfo, jpegtran = shutil.which("webpinfo"), shutil.which("jpegtran")
    if webpinfo is None or jpegtran is None:
        pytest.skip("webpinfo and jpegtran (Debian: webp, libjpeg-turbo-progs)")
    for kind in KINDS:
        path = tmp_path / kind
        path.write_bytes(mark(made(kind, photo(6, 33, 47)), TRAINED))
        if kind.startswith("webp"):
            done = subprocess.run([webpinfo, path], capture_output=True, check=False)
            assert b"No error detected" in done.stdout, done.stdout + done.stderr
        if kind.startswith("jpeg"):
            command = [jpegtran, "-copy", "all", "-progressive", path]
            done = subprocess.run(command, capture_output=True, check=True)
            assert read_mark(done.stdout) == TRAINED
