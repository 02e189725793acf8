"""The short way to a sound key lets nothing pass that the rules refuse."""

from hypothesis import given, settings
from hypothesis import strategies as st

from fiberaug.shards.naming import split_name
from fiberaug.shards.tar import check_name
from fiberaug.shards.writer import _PLAIN_EXTENSION, _PLAIN_KEY, check_key

KEYS = (
    st.text(st.sampled_from("aZ0_-/."), min_size=1, max_size=4)
    | st.text(st.sampled_from("aZ0_-/.: \\\n\u00e9"), max_size=12)
    | st.from_regex(_PLAIN_KEY, fullmatch=True)
)
EXTENSIONS = (
    st.just("jpg")
    | st.text(st.sampled_from("aZ0_./-"), max_size=8)
    | st.from_regex(_PLAIN_EXTENSION, fullmatch=True)
)


@settings(max_examples=500)
@given(key=KEYS, extension=EXTENSIONS)
def test_a_key_that_is_taken_is_read_back_as_it_was_written(key, extension):
    try:
        check_key(key, {extension: b""})
    except Exception:  # noqa: BLE001  # what is refused has tests of its own
        return
    check_name(f"{key}.{extension}")
    name = f"{key}.{extension}"
    assert split_name(name, shard="a.tar", offset=0) == (key, extension)
