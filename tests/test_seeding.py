"""Laws of seeding: a key names all draws of a sample, and nothing else has a say."""

import json
import random
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fiberaug.errors import UsageError
from fiberaug.seeding import (
    KeyedGenerators,
    ShardUids,
    check_seed,
    key,
    torch_seed,
    uid,
    unit_key,
)

GOLDEN = json.loads((Path(__file__).parent / "golden" / "keys.json").read_text("utf-8"))
LAW = settings(deadline=None, max_examples=200, report_multiple_bugs=False)
WORDS = st.integers(0, 2**64 - 1)
KEYS = st.binary(min_size=16, max_size=16)
NAMES = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=20)

DRAWS = {
    "float64": lambda g: g.numpy.random(3).tolist(),
    "float32": lambda g: g.numpy.random(3, np.float32).tolist(),
    "uint32": lambda g: g.numpy.integers(0, 2**32, 3, np.uint32).tolist(),
    "normal": lambda g: g.numpy.standard_normal(3).tolist(),
    "permutation": lambda g: g.numpy.permutation(9).tolist(),
    "python random": lambda g: g.python.random(),
    "python gauss": lambda g: g.python.gauss(),
    "python randrange": lambda g: g.python.randrange(10**9),
    "python shuffle": lambda g: g.python.sample(range(9), 9),
}


def words(*numbers):
    """Return integers as 8-byte little-endian words."""
    return b"".join(number.to_bytes(8, "little") for number in numbers)


def pcg64(state, count):
    """Return raw draws of PCG XSL RR 128/64, from its paper."""
    draws = []
    for _ in range(count):
        state = state * 0x2360ED051FC65DA44385DF649FCCF645
        state = (state + 0x5851F42D4C957F2D14057B7EF767814F) % 2**128
        value, turn = (state >> 64 ^ state) % 2**64, state >> 122
        draws.append((value >> turn | value << (64 - turn)) % 2**64)
    return draws


# ---- keys and identities -------------------------------------------------------------


@pytest.mark.parametrize("case", GOLDEN["keys"], ids=lambda case: case["key"][:6])
def test_a_key_is_the_one_that_was_published(case):
    """BLAKE2b of five words and the stage, recomputed here."""
    numbers = [case[name] for name in ("seed", "epoch", "uid", "visit", "view")]
    by_definition = blake2b(words(*numbers) + case["stage"].encode(), digest_size=16)

    assert key(*numbers, case["stage"]).hex() == case["key"]
    assert by_definition.hexdigest() == case["key"]


@pytest.mark.parametrize("case", GOLDEN["units"], ids=lambda case: case["key"][:6])
def test_the_key_of_a_unit_is_the_one_that_was_published(case):
    numbers = [case[name] for name in ("seed", "epoch", "unit")]
    stage = f"unit/{case['stage']}".encode()
    by_definition = blake2b(words(*numbers, 0, 0) + stage, digest_size=16)

    assert unit_key(*numbers, case["stage"]).hex() == case["key"]
    assert by_definition.hexdigest() == case["key"]


@pytest.mark.parametrize("case", GOLDEN["uids"], ids=lambda case: case["uid"][:6])
def test_the_identity_of_a_sample_is_the_one_that_was_published(case):
    name = f"{case['source']}\0{case['shard']}\0".encode() + words(case["index"])
    by_definition = blake2b(name, digest_size=8).digest()
    found = uid(case["source"], case["shard"], case["index"])

    assert f"{found:016x}" == case["uid"]
    assert found == int.from_bytes(by_definition, "little")


@LAW
@given(st.tuples(*[WORDS] * 5), st.sampled_from(["cpu", "gpu"]), st.integers(0, 5))
def test_a_change_of_any_argument_changes_the_key(numbers, stage, place):
    others = [*numbers, stage]
    others[place] = stage + "x" if place == 5 else others[place] ^ 1

    assert key(*others) != key(*numbers, stage)


@LAW
@given(WORDS, WORDS, WORDS)
def test_a_change_of_any_argument_changes_the_key_of_a_unit(seed, epoch, unit):
    keys = {
        unit_key(seed, epoch, unit, "gpu"),
        unit_key(seed ^ 1, epoch, unit, "gpu"),
        unit_key(seed, epoch ^ 1, unit, "gpu"),
        unit_key(seed, epoch, unit ^ 1, "gpu"),
        unit_key(seed, epoch, unit, "batch"),
    }

    assert len(keys) == 5


@LAW
@given(WORDS, WORDS, WORDS, st.sampled_from(["cpu", "gpu", "batch"]))
def test_the_key_of_a_unit_is_never_that_of_a_sample(seed, epoch, number, stage):
    assert unit_key(seed, epoch, number, stage) != key(seed, epoch, number, 0, 0, stage)


@LAW
@given(NAMES, NAMES, st.lists(WORDS, max_size=5))
def test_the_identities_of_a_shard_are_those_of_its_samples(source, shard, indices):
    uids = ShardUids(source, shard)

    assert [uids(i) for i in indices] == [uid(source, shard, i) for i in indices]


def test_source_and_shard_are_kept_apart():
    assert uid("a", "bc", 0) != uid("ab", "c", 0)


# ---- generators ----------------------------------------------------------------------


@LAW
@given(KEYS, KEYS, st.lists(st.sampled_from(sorted(DRAWS))))
def test_a_key_gives_the_same_draws_whatever_was_drawn_before(key, before, history):
    """Half a word or half a pair of normals that was left over is not found again."""
    used, fresh = KeyedGenerators(), KeyedGenerators()
    used.jump(before)
    for name in history:
        DRAWS[name](used)
    used.jump(key)
    fresh.jump(key)

    for name, draw in DRAWS.items():
        assert draw(used) == draw(fresh), name


@LAW
@given(KEYS, st.integers(0, 127))
def test_another_key_gives_other_draws(key, bit):
    """Even where a single bit differs."""
    other = int.from_bytes(key, "little") ^ 1 << bit
    draws = []
    for name in (key, other.to_bytes(16, "little")):
        generators = KeyedGenerators()
        generators.jump(name)
        draws.append((generators.numpy.random(2).tolist(), generators.python.random()))

    assert draws[0][0] != draws[1][0]
    assert draws[0][1] != draws[1][1]


@pytest.mark.parametrize("case", GOLDEN["draws"], ids=lambda case: case["key"][:6])
def test_the_draws_of_a_key_are_those_that_were_published(case):
    """PCG64 recomputed from its definition; MT19937 as ``random`` seeds it."""
    name = bytes.fromhex(case["key"])
    number = int.from_bytes(name, "little")
    generators = KeyedGenerators()
    generators.jump(name)
    numpy = generators.numpy.bit_generator.random_raw(len(case["numpy"])).tolist()

    assert numpy == case["numpy"] == pcg64(number, len(case["numpy"]))
    assert generators.python.getrandbits(64) == case["python"]
    assert random.Random(number).getrandbits(64) == case["python"]


def test_first_draws_of_neighbouring_keys_are_uniform_and_independent():
    """20,000 samples; bounds are at about 5 standard deviations."""
    generators, first = KeyedGenerators(), []
    for sample in range(20_000):
        generators.jump(key(0, 0, sample, 0, 0, "cpu"))
        first.append((generators.numpy.random(), generators.python.random()))
    draws = np.array(first)

    for column in draws.T:
        seen = np.bincount((column * 100).astype(int), minlength=100)
        chi_square = ((seen - 200) ** 2 / 200).sum()
        assert 99 - 5 * 14.1 < chi_square < 99 + 5 * 14.1  # mean k, sd sqrt(2 k)
        assert abs(np.corrcoef(column[:-1], column[1:])[0, 1]) < 5 / 20_000**0.5
    assert abs(np.corrcoef(draws.T)[0, 1]) < 5 / 20_000**0.5


@LAW
@given(KEYS)
def test_the_seed_for_torch_fits_its_generator(key):
    assert 0 <= torch_seed(key) < 2**63
    assert torch_seed(key) == torch_seed(key[:8] + bytes(8))


def test_keys_that_differ_give_torch_other_seeds():
    seeds = {torch_seed(key(0, 0, sample, 0, 0, "cpu")) for sample in range(10_000)}

    assert len(seeds) == 10_000


def test_no_global_generator_is_read_or_changed():
    before = random.getstate(), np.random.get_state()  # the legacy one
    draws = []
    for other in (1, 2):
        random.seed(other)
        np.random.seed(other)
        inside = random.getstate(), np.random.get_state()
        generators = KeyedGenerators()
        generators.jump(key(1, 2, ShardUids("real", "a.tar")(3), 0, 0, "cpu"))
        draws.append([draw(generators) for draw in DRAWS.values()])
        torch_seed(unit_key(1, 2, uid("real", "a.tar", 3), "gpu"))
        after = random.getstate(), np.random.get_state()
        assert str(after) == str(inside)
    random.setstate(before[0])
    np.random.set_state(before[1])

    assert draws[0] == draws[1]


# ---- seeds ---------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1, 2**64 - 1])
def test_a_seed_of_64_bits_is_taken_as_it_is(seed):
    assert check_seed(seed) == seed


@pytest.mark.parametrize("seed", [-1, 2**64, True, 1.0, "1", None, np.int64(1)])
def test_what_is_no_64_bit_integer_is_refused_with_the_bound(seed):
    with pytest.raises(UsageError) as caught:
        check_seed(seed)

    assert f"in [0, 2**64), got {seed!r}" in str(caught.value)
