"""Laws of seeds and keys: functions of class and index, different for each."""

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fiberaug.errors import UsageError
from fiberaug.shards.writer import check_key
from fiberaug.synthetic.seeds import sample_key, sample_seed

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)
INDEXES = st.integers(0, 2**63 - 1)


@pytest.mark.parametrize(
    ("arguments", "seed"),
    [
        ((0, "cat", 0), 3611896046523107690),
        ((0, "cat", 1), 885404601592409543),
        ((1, "cat", 0), 5954089496011822017),
        ((0, "dog", 0), 8899411710310958246),
        ((0, "7", 12345), 5521990156379903052),
        ((18446744073709551615, "Fähre / rot", 1099511627776), 6293444354264242981),
    ],
)
def test_seeds_never_change(arguments, seed):
    """Another value would make other pools of the same calls."""
    assert sample_seed(*arguments) == seed


@pytest.mark.parametrize(
    ("label", "index", "key"),
    [
        ("cat", 12, "cat-000012"),
        ("disc_2", 1234567, "disc_2-1234567"),
        ("Fähre / rot", 3, "F-hre-rot-903bca6a74fe-000003"),
        ("", 0, "class-ddd9c40767f9-000000"),
        ("a.b", 0, "a-b-e56a617bbe0d-000000"),
        ("-x", 0, "x-80b774ee3ee0-000000"),
        (
            "x" * 60,
            1,
            "x" * 35 + "-ff27301053c7-000001",
        ),
        ("猫", 2, "class-21be0d608395-000002"),
    ],
)
def test_keys_never_change(label, index, key):
    assert sample_key(label, index) == key


@given(st.integers(0, 2**64 - 1), NAMES, INDEXES)
def test_a_seed_is_what_torch_takes(seed, label, index):
    assert 0 <= sample_seed(seed, label, index) < 2**63


@given(st.tuples(NAMES, st.integers(0, 10**7)), st.tuples(NAMES, st.integers(0, 10**7)))
@example(("a-b", 1), ("a b", 1))
@example(("a", 1_000_000), ("a", 100_000))
@example(("A", 1), ("a", 1))
@example(("cat-000001", 2), ("cat", 1))
def test_two_samples_never_share_a_key_or_a_seed(one, other):
    same = (unicodedata.normalize("NFC", one[0]), one[1]) == (
        unicodedata.normalize("NFC", other[0]), other[1],
    )  # fmt: skip

    assert (sample_key(*one) == sample_key(*other)) == same
    assert (sample_seed(3, *one) == sample_seed(3, *other)) == same


def test_a_name_that_looks_like_a_hashed_one_is_hashed_itself():
    hashed = sample_key("a b", 0).removesuffix("-000000")

    assert sample_key(hashed, 0) != sample_key("a b", 0)


@given(NAMES, INDEXES)
def test_a_key_is_safe_in_a_tar(label, index):
    key = sample_key(label, index)

    check_key(key, {"png": b"", "json": b""})
    assert key.isascii()
    assert "/" not in key
    assert len(key) < 80


def test_both_forms_of_an_accent_are_one_class():
    assert sample_key("\u00e9", 1) == sample_key("e\u0301", 1)
    assert sample_seed(0, "\u00e9", 1) == sample_seed(0, "e\u0301", 1)


@pytest.mark.parametrize("index", [-1, 2**63, 1.0, True, None])
def test_an_index_out_of_range_is_refused(index):
    with pytest.raises(UsageError, match="index must be"):
        sample_key("cat", index)
    with pytest.raises(UsageError, match="index must be"):
        sample_seed(0, "cat", index)


@pytest.mark.parametrize("seed", [-1, 2**64, 0.5])
def test_a_seed_out_of_range_is_refused(seed):
    with pytest.raises(UsageError, match="seed must be"):
        sample_seed(seed, "cat", 0)
