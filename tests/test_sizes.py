"""Laws of sizes as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiberaug.errors import UsageError
from fiberaug.sizes import format_bytes, parse_bytes

PREFIXES = "KMGTP"


@pytest.mark.parametrize(
    ("size", "count"),
    [
        (7, 7),
        ("7", 7),
        (" 7 b ", 7),
        ("256MB", 256_000_000),
        ("256 mb", 256_000_000),
        ("1.5KiB", 1536),
        ("0.5 GiB", 2**29),
        ("1PiB", 2**50),
        ("9007199254740993", 9_007_199_254_740_993),  # no float on the way
        ("1.9B", 1),
        (2.0, 2),
    ],
    ids=repr,
)
def test_a_size_is_read_as_people_write_it(size, count):
    assert parse_bytes(size) == count


@pytest.mark.parametrize("i", range(5))
def test_decimal_prefixes_are_powers_of_1000_and_binary_ones_of_1024(i):
    assert parse_bytes(f"3{PREFIXES[i]}B") == 3 * 1000 ** (i + 1)
    assert parse_bytes(f"3{PREFIXES[i]}iB") == 3 * 1024 ** (i + 1)


@pytest.mark.parametrize(
    "size",
    ["", "MB", "1XB", "1 M B", "-1MB", "1,5MB", "1e6", "٣MB", "inf", None, True, 1e30],
    ids=repr,
)
def test_what_is_no_size_is_refused_with_its_name_and_an_example(size):
    with pytest.raises(UsageError) as caught:
        parse_bytes(size, name="shard_size")

    words = str(caught.value)
    assert words.startswith("shard_size must be bytes or text such as")
    assert words.endswith(f"got {size!r}")


@pytest.mark.parametrize("digits", [31, 400, 5000])
def test_an_endless_number_is_refused_in_a_short_line(digits):
    with pytest.raises(UsageError) as caught:
        parse_bytes("9" * digits)

    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("size", [0, -5, "0", "0.4B", "0.0TB"], ids=repr)
def test_a_size_below_one_byte_is_refused(size):
    with pytest.raises(UsageError, match=r"size must be at least 1 byte, got"):
        parse_bytes(size)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (256_000_000, "256.0 MB"),
        (10**12, "1.0 TB"),
        (1234 * 10**12, "1234.0 TB"),
    ],
)
def test_bytes_are_shown_as_people_read_them(count, text):
    assert format_bytes(count) == text


@given(st.integers(1, 10**18))
def test_what_is_shown_can_be_read_again(count):
    """To the decimal that is shown."""
    again = parse_bytes(format_bytes(count))

    assert again >= 1
    assert abs(again - count) <= 0.0501 * count
