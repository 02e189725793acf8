"""Laws of names: keys and extensions as webdataset splits them."""

import unicodedata
from urllib.parse import unquote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from webdataset.tariterators import base_plus_ext

from fiberaug.errors import SecurityRefused, UsageError
from fiberaug.shards.naming import escape_folder, escape_stem, split_name
from fiberaug.shards.tar import check_name
from fiberaug.shards.writer import check_key, member_bytes

names = st.text("aB./_é-", min_size=1, max_size=14)


def split(name):
    return split_name(name, shard="s.tar", offset=512)


@given(names)
def test_a_name_is_split_as_webdataset_splits_it(name):
    assume(not name.rpartition("/")[2].startswith("."))
    assume("__" not in name)
    key, extension = base_plus_ext(name)

    assert split(name) == (None if key is None else (key, extension.lower()))


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("000000000.jpg", ("000000000", "jpg")),
        ("a/b.mask.PNG", ("a/b", "mask.png")),
        ("./v1.2/a.JPG", ("./v1.2/a", "jpg")),
        ("a b é.Jpeg", ("a b é", "jpeg")),
        ("README", None),
        ("__meta__/info.json", None),
        ("__meta__", None),
        (".DS_Store", None),
        ("photos/._a.jpg", None),
        ("photos/.a.jpg", None),
    ],
)
def test_names_of_real_shards(name, parts):
    assert split(name) == parts


@pytest.mark.parametrize("name", ["a.__url__", "a.jpg.__key__", "b/a.__bad__.jpg"])
def test_an_extension_that_loaders_reserve_is_refused(name):
    with pytest.raises(SecurityRefused, match="reserved") as caught:
        split(name)

    assert (caught.value.shard, caught.value.offset) == ("s.tar", 512)


any_name = st.text(min_size=1, max_size=20).filter(lambda s: "/" not in s)


@given(any_name)
def test_an_escaped_stem_is_a_key_and_can_be_undone(stem):
    assume(stem == stem.encode(errors="replace").decode() and "\0" not in stem)
    key = escape_stem(stem)

    check_key(f"class/{key}", {"jpg": b""})
    assert unquote(key) == unicodedata.normalize("NFC", stem)


@pytest.mark.parametrize("name", ["a\\b", "tab\there", "caf\udce9", "v2.1", "50%", "é"])
def test_a_folder_keeps_its_dots_and_is_safe_in_a_shard(name):
    escaped = escape_folder(name)

    check_name(f"{escaped}/a.jpg")
    assert escaped == escape_folder(unicodedata.normalize("NFD", name))
    assert escape_folder("v2.1") == "v2.1"


@pytest.mark.parametrize(
    ("key", "extension"),
    [
        ("", "jpg"),
        ("a.b", "jpg"),
        ("a", "JPG"),
        ("a/", "jpg"),
        ("a", "b/c"),
        ("/etc/a", "jpg"),
        ("../a", "jpg"),
        ("a\\b", "jpg"),
        ("a\n", "jpg"),
        ("a", "__url__"),
        ("k" * 2000, "jpg"),
    ],
)
def test_a_key_that_would_not_come_back_is_the_users_mistake(key, extension):
    with pytest.raises(UsageError, match="key"):
        check_key(key, {extension: b""})


@pytest.mark.parametrize(
    ("size", "taken"), [(0, 512), (1, 1024), (512, 1024), (513, 1536)]
)
def test_a_member_takes_whole_blocks(size, taken):
    assert member_bytes(size) == taken
