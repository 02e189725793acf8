"""A damaged shard stops the run, or is skipped: named once, its samples replaced."""

import json
import logging
import shutil
from pathlib import Path

import pytest

import fiberaug

pytestmark = pytest.mark.timeout(30)

SAMPLES = 40


def missing(tar: Path) -> None:
    tar.unlink()


def cut(tar: Path) -> None:
    with tar.open("r+b") as file:
        file.truncate(tar.stat().st_size // 2)


def longer(tar: Path) -> None:
    tar.write_bytes(tar.read_bytes() + bytes(1024))


def empty(tar: Path) -> None:
    tar.write_bytes(b"")


def a_page(tar: Path) -> None:
    tar.write_bytes(b"<html>not found</html>")


def header(tar: Path) -> None:
    with tar.open("r+b") as file:
        file.write(b"\0" * 100)


def no_index(tar: Path) -> None:
    Path(f"{tar}.idx").unlink()


def index_cut(tar: Path) -> None:
    path = Path(f"{tar}.idx")
    path.write_bytes(path.read_bytes()[:-40])


def index_flipped(tar: Path) -> None:
    path = Path(f"{tar}.idx")
    data = bytearray(path.read_bytes())
    data[200] ^= 1
    path.write_bytes(data)


INDEXED = [missing, cut, longer, empty, a_page, no_index, index_cut, index_flipped]
UNINDEXED = [cut, empty, a_page, header]


@pytest.fixture
def shards(write_set):
    """A folder of ten shards of four samples."""
    folder = Path(write_set(SAMPLES, shard_size="9kB"))
    assert len(list(folder.glob("*.tar"))) == 10
    return folder


def tars(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.tar"))


def keys_in(dataset: fiberaug.StreamingDataset, names: set[str]) -> set[str]:
    loader = fiberaug.DataLoader(dataset, 4)
    return {
        record.key
        for batch in loader
        for record in batch["record"]
        if record.url in names
    }


def run(folder, *, batch_size=4, log=None, num_workers=0, **dataset):
    dataset = fiberaug.StreamingDataset(folder, **{"on_shard_error": "skip", **dataset})
    options = {"multiprocessing_context": "fork"} if num_workers else {}
    loader = fiberaug.DataLoader(
        dataset, batch_size, log=log, num_workers=num_workers, **options
    )
    return loader, list(loader)


def delivered(batches):
    return [
        key
        for batch in batches
        for key, pad in zip(batch["__key__"], batch["is_pad"], strict=True)
        if not pad
    ]


@pytest.mark.parametrize("damage", INDEXED)
def test_damage_is_raised_by_name_where_it_is_not_skipped(shards, damage):
    damage(tars(shards)[3])
    with pytest.raises((fiberaug.ShardDamaged, fiberaug.StoreError)) as caught:
        run(shards, on_shard_error="raise")

    assert "shard-000003.tar" in str(caught.value)


@pytest.mark.parametrize("damage", INDEXED)
def test_with_skip_all_other_samples_come_once_and_stand_ins_fill_the_gaps(
    shards, tmp_path, caplog, damage
):
    lost = keys_in(fiberaug.StreamingDataset(shards), {"shard-000003.tar"})
    damage(tars(shards)[3])
    with caplog.at_level(logging.WARNING):
        loader, batches = run(shards, log=tmp_path / "run", max_errors=0)
    rows = [record for batch in batches for record in batch["record"]]
    planned = [record.key for record in rows if not record.visit]
    lines = (tmp_path / "run/quarantine.jsonl").read_text(encoding="utf-8").splitlines()

    assert len(lost) == 4
    assert len(rows) == SAMPLES
    assert sorted(planned) == sorted({f"k{i:03d}" for i in range(SAMPLES)} - lost)
    assert not any(record.url == "shard-000003.tar" for record in rows)
    assert len(lines) == 1
    line = json.loads(lines[0])
    assert (line["shard"], line["key"], line["samples"]) == (
        "shard-000003.tar",
        None,
        4,
    )
    assert loader.stats()["quarantined_shards"] == 1
    assert loader.stats()["quarantined"] == 0
    assert caplog.text.count("damaged shard, skipped: shard-000003.tar") == 1
    assert "epoch 0 went without 1 damaged shards with 4 samples" in caplog.text


def test_who_stands_in_does_not_depend_on_workers_or_batches(shards):
    cut(tars(shards)[2])
    missing(tars(shards)[7])
    one = [r.to_json() for b in run(shards, batch_size=7)[1] for r in b["record"]]
    other = [r.to_json() for b in run(shards, num_workers=2)[1] for r in b["record"]]

    assert one == other
    assert sum(json.loads(text)["visit"] > 0 for text in one) == 8


def test_with_workers_a_shard_is_named_once_in_the_log_of_the_run(shards, tmp_path):
    cut(tars(shards)[1])
    loader, _ = run(shards, num_workers=2, batch_size=2, log=tmp_path / "run")
    list(loader)  # the next epoch finds it again
    lines = (tmp_path / "run/quarantine.jsonl").read_text(encoding="utf-8").splitlines()

    assert [json.loads(line)["shard"] for line in lines] == ["shard-000001.tar"]
    assert loader.stats()["quarantined_shards"] == 1


def test_in_evaluation_the_rows_are_padding(shards):
    lost = keys_in(fiberaug.StreamingDataset(shards), {"shard-000003.tar"})
    cut(tars(shards)[3])
    _, batches = run(shards, train=False)

    assert sum(int(b["is_pad"].sum()) for b in batches) == 4
    assert sorted(delivered(batches)) == sorted(
        {f"k{i:03d}" for i in range(SAMPLES)} - lost
    )


def test_the_policy_raise_raises_for_samples_of_skipped_shards_too(shards):
    cut(tars(shards)[3])
    with pytest.raises(fiberaug.ShardDamaged, match=r"shard-000003\.tar"):
        run(shards, on_error="raise")


@pytest.mark.parametrize("gone", [5, 9])
def test_a_run_goes_on_with_what_is_left_of_the_shards(shards, gone):
    """Draws that fall on damaged shards use up no attempt."""
    for tar in tars(shards)[:gone]:
        missing(tar)
    loader, batches = run(shards)

    assert sum(len(b["__key__"]) for b in batches) == SAMPLES
    assert loader.stats()["quarantined_shards"] == gone


@pytest.mark.parametrize("num_workers", [0, 2])
def test_where_all_shards_are_damaged_the_run_fails(shards, tmp_path, num_workers):
    dataset = fiberaug.StreamingDataset(shards, on_shard_error="skip")
    options = {"multiprocessing_context": "fork"} if num_workers else {}
    loader = fiberaug.DataLoader(
        dataset, 40, num_workers=num_workers, log=tmp_path / "run", **options
    )
    for tar in tars(shards):
        cut(tar)
    with pytest.raises(fiberaug.ShardDamaged, match=r"all 10 shards .* are damaged"):
        list(loader)
    loader.close()
    lines = (tmp_path / "run/quarantine.jsonl").read_text(encoding="utf-8").splitlines()

    assert len(lines) == 10


def test_where_all_are_damaged_before_it_is_opened_the_set_is_refused(shards):
    for tar in tars(shards):
        cut(tar)
    with pytest.raises(fiberaug.ShardDamaged):
        fiberaug.StreamingDataset(shards, on_shard_error="skip")


def test_a_shard_that_is_restored_is_read_again_in_the_next_epoch(shards):
    third = tars(shards)[3]
    whole = third.read_bytes()
    cut(third)
    loader, _ = run(shards)
    third.write_bytes(whole)
    batches = list(loader)

    assert sorted(delivered(batches)) == [f"k{i:03d}" for i in range(SAMPLES)]
    assert loader.stats()["quarantined_shards"] == 0


@pytest.fixture
def unindexed(shards, tmp_path):
    """The tar files alone."""
    folder = tmp_path / "tars"
    folder.mkdir()
    for tar in tars(shards):
        shutil.copy(tar, folder)
    return folder


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("damage", UNINDEXED)
def test_without_an_index_a_damaged_shard_has_no_samples(
    unindexed, tmp_path, damage, num_workers
):
    lost = keys_in(fiberaug.StreamingDataset(unindexed), {"shard-000003.tar"})
    damage(tars(unindexed)[3])
    loader, batches = run(unindexed, num_workers=num_workers, log=tmp_path / "run")
    lines = (tmp_path / "run/quarantine.jsonl").read_text(encoding="utf-8").splitlines()

    assert sorted(delivered(batches)) == sorted(
        {f"k{i:03d}" for i in range(SAMPLES)} - lost
    )
    assert [(json.loads(t)["key"], json.loads(t)["samples"]) for t in lines] == [
        (None, None)
    ]
    assert loader.stats()["quarantined_shards"] == 1
    with pytest.raises(fiberaug.ShardDamaged, match=r"shard-000003\.tar"):
        run(unindexed, on_shard_error="raise")


def test_without_an_index_and_all_damaged_the_run_fails(unindexed):
    dataset = fiberaug.StreamingDataset(unindexed, on_shard_error="skip")
    for tar in tars(unindexed):
        cut(tar)
    with pytest.raises(fiberaug.ShardDamaged, match=r"all 10 shards .* are damaged"):
        list(fiberaug.DataLoader(dataset, 4))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_plain_torch_loader_skips_too(shards, caplog, num_workers):
    from torch.utils.data import DataLoader as TorchLoader

    cut(tars(shards)[3])
    dataset = fiberaug.StreamingDataset(shards, on_shard_error="skip", batch_size=4)
    rows = [
        key
        for batch in TorchLoader(dataset, batch_size=4, num_workers=num_workers)
        for key in batch["__key__"]
    ]

    assert len(rows) == SAMPLES
    assert num_workers or "damaged shard, skipped: shard-000003.tar" in caplog.text


def test_another_word_is_refused(shards):
    with pytest.raises(fiberaug.UsageError, match="on_shard_error must be"):
        fiberaug.StreamingDataset(shards, on_shard_error="ignore")


@pytest.mark.parametrize("damage", [missing, cut, longer, empty])
def test_shards_named_one_by_one_are_skipped_as_those_of_a_folder(shards, damage):
    names = [str(tar) for tar in tars(shards)]
    braces = f"{shards}/shard-{{000000..000009}}.tar"
    damage(tars(shards)[3])
    of_folder = delivered(run(shards)[1])

    assert delivered(run(names)[1]) == of_folder
    assert delivered(run(braces)[1]) == of_folder
    with pytest.raises((fiberaug.ShardDamaged, fiberaug.StoreError)):
        run(names, on_shard_error="raise")
