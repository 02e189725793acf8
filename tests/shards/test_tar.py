"""Laws of the strict tar reader: it reads what honest writers write, and no damage."""

import contextlib
import io
import itertools
import mmap
import re
import tarfile

import pytest
import webdataset
from hypothesis import given, settings
from hypothesis import strategies as st

from fiberaug.errors import (
    DataRefused,
    FiberAugError,
    LimitExceeded,
    SecurityRefused,
    ShardDamaged,
    UsageError,
)
from fiberaug.shards.tar import Limits, Member, _pax_records, scan

END = bytes(1024)
FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]
PAIRS = [
    (f"s{k}.{ext}", ext.encode() * size)
    for k in range(5)
    for ext, size in (("jpg", 300 + k), ("cls", 1))
]


def written(files=PAIRS, tar_format=tarfile.USTAR_FORMAT):
    """Return a shard as tarfile writes it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tar_format) as tar:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def block(
    name=b"a.jpg", size=b"00000000003\0", kind=b"0", magic=b"ustar\x0000", prefix=b""
):
    """Return a header of any fields whose checksum is right."""
    head = name.ljust(100, b"\0") + bytes(24) + size.ljust(12, b"\0") + bytes(12)
    tail = kind + bytes(100) + magic.ljust(8, b"\0") + bytes(80) + prefix
    tail = tail.ljust(356, b"\0")
    return head + b"%06o\0 " % sum(head + b" " * 8 + tail) + tail


def entry(data=b"abc", **fields):
    """Return a header with its data, padded to whole blocks."""
    size = fields.pop("size", b"%011o\0" % len(data))
    return block(size=size, **fields) + data + bytes(-len(data) % 512)


def record(key, value):
    """Return one pax record."""
    rest = b" %s=%s\n" % (key, value)
    length = len(rest) + 1
    while len(b"%d" % length) + len(rest) != length:
        length += 1
    return b"%d" % length + rest


def pax(*records, kind=b"x"):
    """Return a pax header."""
    return entry(b"".join(record(*pair) for pair in records), name=b"pax", kind=kind)


def read(data, **limits):
    return list(scan(data, shard="s.tar", limits=Limits(**limits)))


def refused(data, kind=DataRefused, **limits):
    """Return the error of a bad shard; it has to say where, in one line."""
    with pytest.raises(kind) as caught:
        read(data, **limits)
    error = caught.value
    assert error.shard == "s.tar"
    assert error.stage == "read"
    assert 0 <= error.offset <= len(data)
    assert "\n" not in str(error)
    assert str(error).isascii()
    assert f"offset {error.offset}" in str(error)
    return error


def as_tarfile_reads(data):
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return [Member(m.name, m.offset_data, m.size, m.offset) for m in tar]


def changed(data, start, new):
    return data[:start] + new + data[start + len(new) :]


SHARD = written()
HEADERS = [m.header_offset for m in as_tarfile_reads(SHARD)]
STOP = HEADERS[-1] + 1024  # of the last member, padding included
HTML = b"<!DOCTYPE html><html><body>404 Not Found</body></html>"

# name of the damage: (the shard, offset in the error, words in the error)
DAMAGES = {
    "cut inside file data": (SHARD[: HEADERS[4] + 600], HEADERS[4], "ends inside memb"),
    "cut inside padding": (
        SHARD[: HEADERS[4] + 1500],
        HEADERS[4] + 1500,
        "marker is m",
    ),
    "cut at a member boundary": (SHARD[: HEADERS[4]], HEADERS[4], "marker is missing"),
    "cut between jpg and cls": (SHARD[: HEADERS[5]], HEADERS[5], "marker is missing"),
    "cut inside a header": (SHARD[: HEADERS[4] + 70], HEADERS[4], "70 of 512 bytes"),
    "cut inside the first header": (SHARD[:70], 0, "no tar file"),
    "flipped header byte": (changed(SHARD, HEADERS[4], b"S"), HEADERS[4], "checksum"),
    "zeroed header": (changed(SHARD, HEADERS[4], bytes(512)), HEADERS[4] + 512, "zero"),
    "two zero blocks in the middle": (
        SHARD[: HEADERS[4]] + END + SHARD[HEADERS[4] :],
        HEADERS[4] + 1024,
        f"behind the zero block at byte {HEADERS[4]}",
    ),
    "two tar files put together": (SHARD + SHARD, len(SHARD), "put together"),
    "far behind the marker": (SHARD + bytes(2**21) + b"x", len(SHARD) + 2**21, "'x'"),
    "nothing but zeros": (bytes(10240), 0, "0 regular members"),
    "nothing but a directory": (entry(b"", name=b"d/", kind=b"5") + END, 512, "0 reg"),
    "zero-length file": (b"", 0, "0 bytes"),
    "HTML page": (HTML * 20, 0, "starts with '<!DOCTYPE"),
    "short HTML page": (HTML, 0, "starts with '<!DOCTYPE"),
    "gzip": (b"\x1f\x8b" + bytes(range(256)) * 4, 0, "unpacked by gzip"),
    "one zero block for the marker": (SHARD[: STOP + 512], STOP, "512 zero bytes"),
    "cut end-of-archive marker": (SHARD[: STOP + 1000], STOP, "1000 zero bytes"),
    "missing end-of-archive marker": (SHARD[:STOP], STOP, "0 zero bytes"),
    "cut zeros behind the marker": (SHARD[:-7], STOP, "multiple of 512"),
    "negative size": (entry(size=b"-0000000001") + END, 0, "not octal"),
    "negative size in base 256": (entry(size=b"\xff" * 12) + END, 0, "negative"),
    "size that is not octal": (entry(size=b"00000000009") + END, 0, "not octal"),
    "size with an underscore": (entry(size=b"000000000_1") + END, 0, "not octal"),
    "empty size": (entry(size=b"") + END, 0, "not octal"),
    "directory with data": (entry(kind=b"5", name=b"d/") + END, 0, "expected 0"),
    "unknown magic": (entry(magic=b"mstar\x0000") + END, 0, "magic"),
    "checksum in spaces": (changed(entry(), 148, b" ") + END, 0, "checksum"),
    "pax header at the end": (entry() + pax() + END, 1024, "expected its member"),
    "pax header cut": (pax((b"path", b"b" * 600))[:700], 0, "extended header"),
    "pax record too long": (entry(b"99 path=b\n", kind=b"x") + END, 0, "pax record"),
    "pax record of length 0": (entry(b"0 path=b\n", kind=b"x") + END, 0, "pax record"),
    "pax record without length": (entry(b"path=b\n", kind=b"x") + END, 0, "pax rec"),
    "pax record without key": (entry(b"5 abc\n", kind=b"x") + END, 0, "pax record"),
    "pax record not ended": (entry(b"9 path=bb", kind=b"x") + END, 0, "pax record"),
    "pax time not ended": (entry(b"12 mtime=1.5", kind=b"x") + END, 0, "pax record"),
    "negative pax size": (pax((b"size", b"-3")) + entry() + END, 0, "decimal"),
    "endless pax size": (pax((b"size", b"9" * 5000)) + entry() + END, 0, "decimal"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_every_damage_is_reported_where_it_is(damage):
    data, offset, words = DAMAGES[damage]
    error = refused(data, ShardDamaged)
    assert error.offset == offset
    assert words in str(error)


def test_a_healthy_shard_reads_as_by_tarfile(tmp_path):
    assert read(SHARD) == as_tarfile_reads(SHARD)
    assert [(m.name, SHARD[m.offset :][: m.size]) for m in read(SHARD)] == PAIRS
    path = tmp_path / "s.tar"
    path.write_bytes(SHARD)
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
    ):
        assert read(mapped) == read(memoryview(SHARD)) == read(SHARD)


def test_every_cut_of_a_shard_is_reported():
    short = SHARD[: STOP + 1024]
    assert read(short) == read(SHARD)
    for size in itertools.chain(range(0, len(short), 17), range(STOP, len(short))):
        refused(short[:size], ShardDamaged)


@pytest.mark.parametrize("tar_format", FORMATS)
def test_every_flipped_bit_of_a_header_is_reported(tar_format):
    shard = written([("a.jpg", b"1"), ("é/b.jpg", b"22"), ("c.cls", b"")], tar_format)
    heads = [m.offset - 512 for m in read(shard)]
    heads += [m.header_offset for m in read(shard) if m.header_offset not in heads]
    for head, byte, bit in itertools.product(heads, range(512), range(8)):
        place = head + byte
        refused(changed(shard, place, bytes([shard[place] ^ 1 << bit])))


TYPES = {
    "hard link": entry(b"", kind=b"1"),
    "symbolic link": entry(b"", kind=b"2"),
    "device": entry(b"", kind=b"3"),
    "fifo": entry(b"", kind=b"6"),
    "long name of a link": entry(b"there\0", kind=b"K", magic=b"ustar  \0"),
    "sparse file of GNU": entry(kind=b"S", magic=b"ustar  \0"),
    "sparse file of pax": pax((b"GNU.sparse.major", b"1")) + entry(),
    "sparse files for all": pax((b"GNU.sparse.size", b"9"), kind=b"g") + entry(),
    "unknown": entry(kind=b"V"),
    "global path": pax((b"path", b"b.jpg"), kind=b"g") + entry(),
    "global size": pax((b"size", b"3"), kind=b"g") + entry(),
    "two paths": pax((b"path", b"b.jpg"), (b"path", b"c.jpg")) + entry(),
    "two sizes": pax((b"mtime", b"1.5"), (b"size", b"512")) + entry(),
    "two headers": pax((b"path", b"b.jpg")) + pax((b"path", b"c.jpg")) + entry(),
    "prefix in GNU's times": entry(magic=b"ustar  \0", prefix=b"14000000000"),
    "prefix before ustar": entry(magic=b"", prefix=b"dir"),
}
NAMES = {
    "empty": b"",
    "absolute": b"/etc/a.jpg",
    "parent": b"../a.jpg",
    "parent inside": b"a/../../b.jpg",
    "parent at the end": b"a/..",
    "backslash": b"a\\b.jpg",
    "drive": b"C:a.jpg",
    "slash at the end": b"a.jpg/",
    "line feed": b"a\nb.jpg",
    "escape": b"a\x1b[2J.jpg",
    "C1 control": "a\x85.jpg".encode(),
    "line separator": "a\u2028.jpg".encode(),
    "lone surrogate": b"a\xed\xa0\x80.jpg",
    "Latin-1": b"\xe9.jpg",
    "reserved": b"a.__bad__",
    "reserved inside": b"a.x.__local_path__.jpg",
    "too long": b"a" * 31,
}


@pytest.mark.parametrize("what", TYPES)
def test_what_no_honest_shard_holds_is_refused(what):
    refused(entry(name=b"good.jpg") + TYPES[what] + END, SecurityRefused)


@pytest.mark.parametrize("what", NAMES)
@pytest.mark.parametrize("way", ["header", "directory", "pax", "long name"])
def test_an_unsafe_name_is_refused_whichever_header_holds_it(what, way):
    name = NAMES[what]
    shard = {
        "header": entry(name=name),
        "directory": entry(b"", name=name + b"/", kind=b"5"),
        "pax": pax((b"path", name)) + entry(),
        "long name": entry(name + b"\0", kind=b"L", magic=b"ustar  \0") + entry(),
    }[way]
    error = refused(shard + END, SecurityRefused, name_chars=30)
    assert "name" in str(error)


@pytest.mark.parametrize("name", [
    "./a.jpg", "a..b.jpg", "__a__/b.jpg", "a/__b.jpg", ".hidden", "a b.jpg", "ab:c",
    "日本/é e\u0301\u200d\xa0.jpg", "1:2.jpg", "é:c", "-", "a" * 100,
])  # fmt: skip
def test_an_odd_but_harmless_name_is_read_unchanged(name):
    assert read(entry(name=name.encode()) + END) == [Member(name, 512, 3, 0)]


def test_a_size_above_its_limit_is_refused_before_any_byte_is_read():
    for size in (b"77777777777", b"\x80" + b"\xff" * 11, b"\xbf" * 12):
        error = refused(entry(size=size) + END, LimitExceeded)
        assert "member_bytes=268435456" in str(error)
    huge = pax((b"size", b"%d" % 8**11)) + entry(b"", size=b"00000000000")
    assert refused(huge + END, LimitExceeded).offset == 1024
    assert read(entry() + END, member_bytes=3)
    refused(entry() + END, LimitExceeded, member_bytes=2)
    refused(huge + END, ShardDamaged, member_bytes=2**40)


@pytest.mark.parametrize("kind", [b"x", b"g", b"L"])
def test_an_extended_header_above_its_limit_is_refused_unread(kind):
    size = b"%011o\0" % (2**16 + 1)
    error = refused(block(kind=kind, size=size), LimitExceeded)
    assert "extended_header_bytes=65536" in str(error)


def test_parsing_pax_records_takes_linear_work():
    class Counted(bytes):
        touched = 0

        def __getitem__(self, part):
            found = super().__getitem__(part)
            Counted.touched += len(found)
            return found

        def find(self, what, start, stop):
            Counted.touched += stop - start
            return super().find(what, start, stop)

    def work(body):
        Counted.touched = 0
        with contextlib.suppress(ShardDamaged):
            _pax_records(Counted(body))
        return Counted.touched / len(body)

    for count in (10, 100, 1000, 4000):
        short = b"".join(record(b"k%d" % k, b"") for k in range(count))
        assert work(short) < 4
        assert work(short + b"9" * count) < 4
        assert work(record(b"k", b" =" * count)) < 4


def test_fields_as_other_tar_programs_write_them_are_read():
    plain = [Member("a.jpg", 512, 3, 0)]
    for fields in (
        {"kind": b"\0"},
        {"kind": b"7"},
        {"magic": b""},
        {"magic": b"", "kind": b"\0"},
        {"magic": b"ustar  \0"},
        {"magic": b"ustar\0  "},
        {"size": b"          3 "},
        {"size": b"000000000003"},
        {"size": b"\x80" + bytes(10) + b"\x03"},
    ):
        assert read(entry(**fields) + END) == plain, fields
    total = int(entry()[148:154], 8)
    for checksum in (b"%06o \0" % total, b"%07o\0" % total):
        assert read(changed(entry(), 148, checksum) + END) == plain
    old = entry(magic=b"")
    padded = b"%6o\0 " % int(old[148:154], 8)
    assert read(changed(old, 148, padded) + END) == plain
    old = entry(magic=b"", name="é".encode())
    signed = b"%06o\0 " % (int(old[148:154], 8) - 2 * 256)
    assert read(changed(old, 148, signed) + END) == [Member("é", 512, 3, 0)]
    refused(changed(old, 148, b"%06o\0 " % 77) + END, ShardDamaged)


def test_directories_and_global_comments_are_no_members():
    shard = (
        pax((b"comment", b"from git"), kind=b"g")
        + entry(b"", name=b"./", kind=b"5")
        + entry(b"", name=b"old/", kind=b"\0", magic=b"")
        + pax((b"mtime", b"1.5"), kind=b"g")
        + pax((b"mtime", b"1.5"), (b"size", b"3"))
        + entry(prefix=b"deep/er")
    )
    assert read(shard + END) == [Member("deep/er/a.jpg", 4608, 3, 3072)]


NAME = st.text(
    st.characters(exclude_categories=("C", "Zl", "Zp"), exclude_characters="\\/:"),
    min_size=1,
    max_size=60,
).filter(lambda part: part not in {".", ".."} and not re.search("__.*__", part))
FILES = st.lists(
    st.tuples(
        st.lists(NAME, min_size=1, max_size=4).map("/".join), st.binary(max_size=1100)
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=100, deadline=None)
@given(files=FILES, tar_format=st.sampled_from(FORMATS))
def test_whatever_tarfile_writes_is_read_alike(files, tar_format):
    try:
        shard = written(files, tar_format)
    except ValueError:  # ustar cannot hold every long name
        shard = written(files, tarfile.PAX_FORMAT)
    assert read(shard) == as_tarfile_reads(shard)


@settings(max_examples=100, deadline=None)
@given(place=st.integers(0, len(SHARD) - 1), junk=st.binary(max_size=600))
def test_junk_anywhere_raises_an_error_of_ours_or_leaves_the_members(place, junk):
    shard = changed(SHARD, place, junk)[: len(SHARD)]
    try:
        assert read(shard) == read(SHARD)
    except FiberAugError as error:
        assert error.shard == "s.tar"  # noqa: PT017 (either outcome is right)


def test_a_shard_of_webdataset_is_read(tmp_path):
    path = tmp_path / "w.tar"
    with webdataset.TarWriter(str(path)) as writer:
        for k in range(3):
            writer.write({"__key__": f"s{k}", "jpg": b"j" * k, "cls": k})
    data = path.read_bytes()
    names = [f"s{k}.{ext}" for k in range(3) for ext in ("cls", "jpg")]
    assert [m.name for m in read(data)] == names
    assert read(data) == as_tarfile_reads(data)


def test_arguments_are_checked_before_iterating():
    for limits in ({"member_bytes": 0}, {"name_chars": -1}, {"name_chars": True}):
        with pytest.raises(UsageError, match="at least 1"):
            Limits(**limits)
    with pytest.raises(UsageError, match="bytearray"):
        scan(bytearray(SHARD), shard="s.tar")
    with pytest.raises(UsageError, match="contiguous"):
        scan(memoryview(SHARD)[::2], shard="s.tar")
    with pytest.raises(UsageError, match="shard"):
        scan(SHARD, shard="")
    with pytest.raises(UsageError, match="Limits"):
        scan(SHARD, shard="s.tar", limits=5)
