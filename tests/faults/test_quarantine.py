"""What a run could not make is listed, taken out as it is, and tried again."""

import json
from pathlib import Path

import pytest
from sets import cut_jpeg, photo, samples
from typer.testing import CliRunner

import fiberaug
from fiberaug.cli.main import app
from fiberaug.quarantining import Quarantine, read_quarantine

pytestmark = pytest.mark.timeout(30)
BROKEN = {"k003", "k011"}


@pytest.fixture
def run(write_set, tmp_path):
    """The folder of a run over a set with two cut JPEGs and a shard that is gone."""

    def content():
        for i, sample in enumerate(samples(40)):
            broken = sample["__key__"] in BROKEN
            image = cut_jpeg(i) if broken else photo(i, 120, 160)
            yield {**sample, "image": image}

    shards = write_set(content(), shard_size="60kB")
    dataset = fiberaug.StreamingDataset(shards, on_shard_error="skip")
    last = Path(dataset.shard_set.refs[-1].path)
    last.rename(last.with_suffix(".gone"))
    with fiberaug.DataLoader(dataset, 8, log=tmp_path / "run") as loader:
        for _ in range(2):
            list(loader)
    return tmp_path / "run"


def call(*arguments):
    return CliRunner().invoke(app, ["quarantine", *map(str, arguments)])


def test_it_lists_samples_and_shards_once_with_reason_and_count(run):
    entries = {entry.key: entry for entry in read_quarantine(run)}
    done = call(run)

    assert set(entries) == {*BROKEN, None}
    assert entries["k003"].times >= 2  # more where it was drawn as a stand-in, too
    assert entries["k003"].epochs == [0, 1]
    assert entries["k003"].stage == "decode"
    assert entries[None].times == 1
    assert entries[None].samples > 0
    assert done.exit_code == 0
    assert "k003: decode: SampleBroken" in done.output
    assert " times)" in done.output
    assert done.output.endswith("2 samples, 1 shard\n")


def test_json_says_the_same(run):
    rows = json.loads(call(run, "--json").output)

    assert {row["key"] for row in rows} == {*BROKEN, None}
    assert {"shard", "key", "stage", "reason", "times"} <= set(rows[0])


def test_a_line_that_was_cut_is_left_out(run, caplog):
    with (run / "quarantine.jsonl").open("ab") as file:
        file.write(b'{"shard": "shard-000000.tar", "key": "k0')
    before = len(read_quarantine(run))

    assert before == 3
    assert "is cut, it is left out" in caplog.text


def test_the_members_of_a_broken_sample_are_taken_out_as_they_are(run, tmp_path):
    done = call(run, "--extract", tmp_path / "out")
    files = {path.name: path for path in (tmp_path / "out").rglob("*.*")}

    assert done.exit_code == 0
    assert files["k003.jpg"].read_bytes() == cut_jpeg(3)
    assert files["k011.jpg"].read_bytes() == cut_jpeg(11)
    assert files["k003.cls"].read_bytes() == b"3"
    again = call(run, "--extract", tmp_path / "out")
    assert "exists; give an empty folder" in again.output


def test_also_where_a_checksum_is_wrong(write_set, tmp_path):
    shards = write_set(8)
    path = Path(fiberaug.StreamingDataset(shards).shard_set.refs[0].path)
    content = bytearray(path.read_bytes())
    content[content.index(b"\x89PNG") + 40] ^= 1
    path.write_bytes(content)
    with fiberaug.DataLoader(
        fiberaug.StreamingDataset(shards), 4, log=tmp_path / "run"
    ) as loader:
        list(loader)
    (entry,) = read_quarantine(tmp_path / "run")
    quarantine = Quarantine(tmp_path / "run")

    assert "CRC-32" in quarantine.retry(entry)
    written = quarantine.extract(entry, tmp_path / "out")
    png = next(path for path in written if path.suffix == ".png")
    assert png.read_bytes() in bytes(content)


@pytest.mark.parametrize(
    "key", ["../../up", "/etc/passwd", "..", "a/b/c", "x\0y", "é" * 300]
)
def test_no_name_leads_out_of_the_folder(run, tmp_path, key):
    """A record can be forged; the name of what is written is made of safe letters."""
    from fiberaug.quarantining import _safe

    path = tmp_path / "out" / _safe(key)

    assert path.resolve().parent == (tmp_path / "out").resolve()
    assert len(path.name.encode()) <= 200
    assert _safe(key) not in {"", ".", ".."}


def test_a_link_in_the_folder_is_not_followed(run, tmp_path):
    entry = next(e for e in read_quarantine(run) if e.key == "k003")
    aim = tmp_path / "aim"
    aim.mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / entry.shard).symlink_to(aim)
    with pytest.raises(fiberaug.StoreError, match="is a link"):
        Quarantine(run).extract(entry, tmp_path / "out")

    assert not list(aim.iterdir())


def test_what_was_mended_decodes_now(run):
    """A shard that came back is sound; cut JPEGs stay broken."""
    gone = call(run, "--retry")
    assert gone.exit_code == 3
    assert "now: StoreError: cannot read" in gone.output
    place = Path(json.loads((run / "manifest.json").read_bytes())["shards"][-1])
    place.with_suffix(".gone").rename(place)
    rows = json.loads(call(run, "--retry", "--json").output)
    now = {row["key"]: row["now"] for row in rows}

    assert now[None] is None
    assert "cannot be decoded" in now["k003"]


def test_a_run_without_broken_samples_has_an_empty_quarantine(write_set, tmp_path):
    with fiberaug.DataLoader(
        fiberaug.StreamingDataset(write_set(5)), 5, log=tmp_path / "run"
    ) as loader:
        list(loader)

    assert call(tmp_path / "run").output == "no samples, no shards\n"
    assert call(tmp_path / "nowhere").exit_code == 4
