"""No byte of a shard is ever run: a closed table of decoders and no pickle."""

import gzip
import io
import pickle
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from limited import run_limited
from sets import photo
from tars import shard

import fiberaug
from fiberaug.decode.fields import parse_fields
from fiberaug.decode.sample import SampleDecoder
from fiberaug.errors import FiberAugError, SampleBroken
from fiberaug.jobs.encoding import encode_image
from fiberaug.jobs.indexing import index_shards
from fiberaug.jobs.summary import summarize
from fiberaug.jobs.verifying import verify

IMAGE = encode_image(photo(0), "png")
PICKLES = ["pyd", "pkl", "pickle", "pth", "pt", "ckpt", "joblib", "dill"]
NESTED = [f"{extension}.gz" for extension in PICKLES] + ["pyd.gz.gz"]


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return (Path.touch, (self.marker,))


@pytest.fixture
def marker(tmp_path):
    return tmp_path / "executed"


@pytest.fixture
def payload(marker):
    return pickle.dumps(Bomb(marker))


def members_of(payload):
    """The payload under every extension that some loader unpickles."""
    packed = {"pyd.gz.gz": gzip.compress(gzip.compress(payload))}
    for extension in PICKLES:
        packed[extension] = payload
        packed[f"{extension}.gz"] = gzip.compress(payload)
    return packed


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_pickle_in_a_shard_is_bytes_whoever_asks_for_it(
    tmp_path, marker, payload, num_workers
):
    members = {"png": IMAGE, **members_of(payload)}
    path = shard(tmp_path / "s.tar", [(f"k.{e}", d) for e, d in members.items()])
    names = {extension: extension.replace(".", "_") for extension in members}
    fields = {"image": "png"} | {n: e for e, n in names.items() if e != "png"}

    summarize(str(path))
    index_shards(str(path), decode=True, progress=False)
    assert verify(str(path), decode=True, progress=False).problems == []
    for wanted in ("auto", fields):
        loader = fiberaug.DataLoader(
            fiberaug.StreamingDataset(str(path), fields=wanted, on_error="raise"),
            1,
            num_workers=num_workers,
        )
        (batch,) = list(loader)
        for extension in set(members) - {"png"} if wanted is fields else ():
            assert batch[names[extension]] == [members[extension]], extension

    assert not marker.exists()
    pickle.loads(payload)
    assert marker.exists(), "the payload was a real one"
    assert len(PICKLES) == 8


@given(
    extension=st.text("abcdefghijklmnopqrstuvwxyz0123456789._-", min_size=1).filter(
        lambda e: e.strip(".") == e and ".." not in e
    )
)
@settings(deadline=None)
def test_what_the_table_does_not_name_stays_bytes(extension):
    known = {"jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff", "gif", "ppm",
             "json", "npy", "npz", "cls", "txt"}  # fmt: skip
    content = b"\x80\x04cposix\nsystem\n"
    decoder = SampleDecoder(specs=parse_fields({"image": "png", "x": f"{extension}"}))
    if extension.rpartition(".")[2] in known:
        return
    found = decoder({"png": IMAGE, extension: content}).fields["x"]

    assert type(found) is bytes
    assert found == content


def saved(marker, save):
    buffer = io.BytesIO()
    save(buffer, np.array([Bomb(marker)]), allow_pickle=True)
    return buffer.getvalue()


@pytest.mark.parametrize("extension", ["npy", "npz"])
def test_an_array_of_objects_breaks_its_sample_and_runs_nothing(
    tmp_path, marker, extension
):
    content = saved(marker, np.save if extension == "npy" else np.savez)
    path = shard(tmp_path / "s.tar", [("k.png", IMAGE), (f"k.{extension}", content)])
    dataset = fiberaug.StreamingDataset(
        str(path), fields={"image": "png", "x": extension}, on_error="raise"
    )

    with pytest.raises(SampleBroken, match="pickle"):
        list(fiberaug.DataLoader(dataset, 1))
    assert not marker.exists()
    np.load(io.BytesIO(content), allow_pickle=True)
    if extension == "npz":
        np.load(io.BytesIO(content), allow_pickle=True)["arr_0"]
    assert marker.exists(), "the payload was a real one"


def lying_archive(method, stated=1024, size=2**27):
    """An .npz whose only entry says 1 KiB and unpacks to 128 MiB of zeros."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive, archive.open("a", "w") as to:
        for _ in range(size // 2**20):
            to.write(bytes(2**20))
    content = bytearray(buffer.getvalue())
    at = content.index(b"PK\1\2")  # the directory, which is what readers believe
    content[at + 16 : at + 20] = zlib.crc32(bytes(stated)).to_bytes(4, "little")
    content[at + 24 : at + 28] = stated.to_bytes(4, "little")
    return bytes(content)


def npy_header(shape, kind="<f4", version=1):
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n"
    length = len(text).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + length + text.encode()


ARRAYS = {
    "deflate.npz": lambda: lying_archive(zipfile.ZIP_DEFLATED),
    "lzma.npz": lambda: lying_archive(zipfile.ZIP_LZMA),
    "bzip2.npz": lambda: lying_archive(zipfile.ZIP_BZIP2),
    "shape.npy": lambda: npy_header((10**12,)) + bytes(64),
    "shape.2.npy": lambda: npy_header((2**31, 2**31), "<f8", 2) + bytes(64),
    "deep.npy": lambda: npy_header("(" * 9000 + ")" * 9000),
    "length.npy": lambda: b"\x93NUMPY\x02\x00\xff\xff\xff\xff{",
    "items.npy": lambda: npy_header((1,), "V2147483647") + bytes(64),
}


@pytest.fixture(scope="module")
def arrays(tmp_path_factory):
    folder = tmp_path_factory.mktemp("arrays")
    for name, make in ARRAYS.items():
        (folder / name).write_bytes(make())
    return folder


READ_ARRAYS = """
    from pathlib import Path
    import cv2
    image = cv2.imencode(".png", numpy.zeros((4, 4), numpy.uint8))[1].tobytes()
    for path in map(Path, sys.argv[1:]):
        kind = path.suffix[1:]
        decoder = SampleDecoder(specs=parse_fields({"image": "png", "x": kind}))
        try:
            decoder({"png": image, kind: path.read_bytes()})
        except FiberAugError as error:
            print(path.name, type(error).__name__)
    print("peak", "low" if peak_mib() < 200 else peak_mib())
"""


@pytest.mark.timeout(120)
def test_an_array_that_lies_about_its_size_takes_no_memory(arrays):
    files = [arrays / name for name in ARRAYS]
    said = run_limited(READ_ARRAYS, *files).splitlines()

    assert [line.split()[0] for line in said] == [*ARRAYS, "peak"]
    assert said[-1] == "peak low"


def test_the_archives_that_lie_are_small_and_large_inside(arrays):
    """The attack is a real one: the standard library unpacks it all."""
    for name in ("deflate.npz", "lzma.npz", "bzip2.npz"):
        content = (arrays / name).read_bytes()
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            (entry,) = archive.infolist()
            assert (entry.file_size, len(content) < 2**20) == (1024, True)
            assert archive.read("a") == bytes(1024), "no reader sees that it lies"


def test_a_users_own_decoder_is_the_only_way_to_more(tmp_path, marker, payload):
    path = shard(tmp_path / "s.tar", [("k.png", IMAGE), ("k.pkl", payload)])
    dataset = fiberaug.StreamingDataset(
        str(path),
        fields={"image": "png", "x": "pkl"},
        decoders={"pkl": lambda data: str(pickle.loads(data))},
    )
    (sample,) = dataset

    assert sample["x"] == "None"
    assert marker.exists()


def test_errors_are_ours_whatever_the_members_hold():
    fields = {"image": "png", "a?": "npy", "b?": "npz", "c?": "json"}
    decoder = SampleDecoder(specs=parse_fields(fields))

    @given(
        st.dictionaries(st.sampled_from(["npy", "npz", "json", "png"]), st.binary()),
    )
    @settings(deadline=None, max_examples=200)
    def law(members):
        try:
            decoder({"png": IMAGE} | members)
        except FiberAugError as error:
            assert error.stage == "decode"  # noqa: PT017  # either outcome is right

    law()
