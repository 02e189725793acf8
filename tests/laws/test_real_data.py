"""Laws on data that other people made."""

import json
import shutil
from hashlib import sha256

import albumentations as A
import pytest
import webdataset
from sets import DATA

import fiberaug
from fiberaug.jobs.indexing import index_shards
from fiberaug.jobs.verifying import verify

CIFAR = DATA / "cifar10-shards"
CLOTHING = DATA / "clothing-small/train"

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not DATA.is_dir(), reason="FIBERAUG_DATA names no folder"),
    # webdataset leaves its files open
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def by_key(loader) -> dict[str, str]:
    """SHA-256 of the pixels and the label of each key."""
    found = {}
    for batch in loader:
        for key, image, label, pad in zip(
            batch["__key__"],
            batch["image"],
            batch["label"],
            batch["is_pad"],
            strict=True,
        ):
            if not pad:
                assert key not in found
                found[key] = sha256(
                    image.numpy().tobytes() + bytes([int(label)])
                ).hexdigest()
    return found


def test_shards_without_an_index_stream_as_they_are_and_with_one_give_the_same_pixels(
    tmp_path,
):
    pipeline = A.Compose(
        [A.RandomResizedCrop((32, 32)), A.ColorJitter(), A.Normalize()]
    )
    shards = str(CIFAR / "train-{000000..000001}.tar")
    bare = fiberaug.StreamingDataset(shards, transform=pipeline)
    with pytest.raises(TypeError, match="fiberaug index"):
        len(bare)
    streamed = by_key(fiberaug.DataLoader(bare, 64, num_workers=2))
    index_shards(shards, index_dir=tmp_path, progress=False)
    indexed = fiberaug.StreamingDataset(shards, transform=pipeline, index_dir=tmp_path)

    assert len(streamed) == len(indexed) == 6000
    assert by_key(fiberaug.DataLoader(indexed, 50, num_workers=1)) == streamed


def test_a_stream_without_an_index_resumes_and_splits_over_ranks():
    shards = str(CIFAR / "test-000000.tar")
    whole = [
        k
        for b in fiberaug.DataLoader(fiberaug.StreamingDataset(shards), 32)
        for k in b["__key__"]
    ]
    loader = fiberaug.DataLoader(fiberaug.StreamingDataset(shards), 32, num_workers=2)
    running = iter(loader)
    for _ in range(7):
        next(running)
    state = json.dumps(loader.state_dict())
    parts = []
    for rank in range(2):
        dataset = fiberaug.StreamingDataset(shards, rank=rank, world_size=2)
        again = fiberaug.DataLoader(dataset, 25, num_workers=rank)
        again.load_state_dict(json.loads(state))
        parts.append(list(again))
    rest = [
        key
        for pair in zip(*parts, strict=True)
        for b in pair
        for key, pad in zip(b["__key__"], b["is_pad"], strict=True)
        if not pad
    ]
    assert rest == whole[7 * 32 :]


@pytest.fixture(scope="module")
def clothing(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clothing") / "set"
    fiberaug.convert(CLOTHING, folder, shard_size="24MB", workers=2, progress=False)
    yield folder
    shutil.rmtree(folder)


def test_a_folder_of_photos_converts_verifies_and_plain_webdataset_reads_the_same(
    clothing,
):
    found = verify(str(clothing), progress=False)
    classes = sorted(p.name for p in CLOTHING.iterdir() if p.is_dir())
    read = {
        sample["__key__"]: (sample["jpg"], classes[int(sample["cls"])])
        for sample in webdataset.WebDataset(
            sorted(map(str, clothing.glob("*.tar"))), shardshuffle=False
        )
    }
    there = {
        f"{p.parent.name}/{p.stem}": (p.read_bytes(), p.parent.name)
        for p in CLOTHING.rglob("*.jpg")
    }

    assert (found.samples, found.problems) == (3068, [])
    assert read == there


@pytest.mark.slow
def test_photos_cut_after_every_batch_and_resumed_elsewhere_go_on(clothing):
    pipeline = A.Compose(
        [A.RandomResizedCrop((64, 64)), A.ColorJitter(), A.Normalize()]
    )

    def loader(batch_size, rank=0, world_size=1, **options):
        dataset = fiberaug.StreamingDataset(
            clothing, transform=pipeline, rank=rank, world_size=world_size
        )
        return fiberaug.DataLoader(dataset, batch_size, **options)

    def rows(batch):
        return [
            sha256(
                key.encode() + image.numpy().tobytes() + record.to_json().encode()
            ).digest()
            for key, image, record, pad in zip(
                batch["__key__"],
                batch["image"],
                batch["record"],
                batch["is_pad"],
                strict=True,
            )
            if not pad
        ]

    whole = loader(512, num_workers=2)
    states, unbroken = [whole.state_dict()], []
    for batch in whole:
        unbroken += rows(batch)
        states.append(whole.state_dict())
    for k, state in enumerate(states):
        world, local = ((2, 200), (3, 64), (1, 300))[k % 3]
        parts = []
        for rank in range(world):
            again = loader(local, rank, world, num_workers=k % 3)
            again.load_state_dict(state)
            parts.append([rows(batch) for batch in again])
        rest = [
            row for group in zip(*parts, strict=True) for part in group for row in part
        ]
        assert rest == unbroken[512 * k :], k
