"""Which URLs are read, what they name, and what of them is shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiberaug.errors import FiberAugError, SecurityRefused, UsageError
from fiberaug.shards.urls import check_url, file_name, is_remote, join, redact


@pytest.mark.parametrize(
    "text",
    [
        "/data/a.tar",
        "C:\\data\\a.tar",
        "a:b.tar",
        "a::b.tar",
        "file:///data/a.tar",
        "http://host/a.tar",
        "https://me:word@host:8080/a.tar?sig=1",
        "http://[::1]:8000/a.tar",
        "s3://bucket/set/a.tar",
        "gs://bucket/set/a.tar",
        "hf://datasets/owner/name@main/a.tar",
        "https://host/train-{000..003}.tar",
    ],
)
def test_a_path_and_a_url_of_a_known_protocol_are_read(text):
    check_url(text)


@pytest.mark.parametrize(
    "text",
    [
        "reference://x",
        "memory://x",
        "ssh://host/a.tar",
        "ftp://host/a.tar",
        "git://host/a.tar",
        "github://o:r@x/a.tar",
        "simplecache::s3://bucket/a.tar",
        "zip://a.tar::http://host/b.zip",
        "s3://bucket/a.tar::https://host/x",
        "http://host/a.tar::pipe:id",
        "webdataset::pipe:id",
        "pipe:aws s3 cp s3://bucket/a.tar -",
        "PIPE:id",
        "http://host/a\n.tar",
        "http://host/a\x00.tar",
        "s3://bucket/a\x1b[2J.tar",
        "http://",
        "http:///a.tar",
        "http://host:port/a.tar",
        "s3://key:CANARY@bucket/a.tar",
        "http://me:CAN/ARY@host/a.tar",
        "http://host/a.tar?sig=CAN ARY",
    ],
)
def test_any_other_protocol_chain_command_and_control_character_is_refused(text):
    with pytest.raises((SecurityRefused, UsageError)) as caught:
        check_url(text)
    assert "ARY" not in str(caught.value)


def test_a_command_names_the_protocols_to_take_instead_and_is_taken_when_allowed():
    with pytest.raises(SecurityRefused, match=r"s3://.*allow_pipe=True"):
        check_url("pipe:cat a.tar")
    check_url("pipe:cat a.tar", allow_pipe=True)


def test_only_what_reaches_beyond_files_is_remote():
    assert is_remote("HTTPS://host/a.tar")
    assert is_remote("hf://datasets/o/n/a.tar")
    assert not is_remote("file:///a.tar")
    assert not is_remote("a.tar")
    assert not is_remote("pipe:cat http://host/a.tar")


def test_the_file_name_is_the_one_it_would_have_in_a_folder():
    assert file_name("https://host/a/b.tar?sig=a/b#c/d") == "b.tar"
    assert file_name("https://host/a/b%20c.tar") == "b c.tar"
    assert file_name("s3://bucket/a/b%20c.tar") == "b%20c.tar"
    assert file_name("https://host/a%2F..%2Fb.tar") == "a%2F..%2Fb.tar"
    assert file_name("https://host/a%00.tar") == "a%00.tar"


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "a\\b", "a\nb"])
def test_a_name_that_leads_out_of_its_folder_is_refused(name):
    with pytest.raises(SecurityRefused):
        join("https://host/set", name)


@given(st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1))
def test_a_joined_name_is_the_file_name_again(name):
    try:
        url = join("https://host/set?sig=1", name)
    except FiberAugError:
        return
    check_url(url)
    assert file_name(url) == name
    assert url.startswith("https://host/set/")
    assert url.endswith("?sig=1")


def test_what_is_shown_has_neither_user_nor_query_nor_fragment():
    text = (
        "GET 'https://me:CANARY@host/a@2/b.tar?X-Amz-Signature=CANARY' and"
        ' "s3://b/c?v=CANARY", (http://h/d#CANARY): failed'
    )
    assert redact(text) == (
        "GET 'https://host/a@2/b.tar' and \"s3://b/c\", (http://h/d): failed"
    )
    assert redact("http://h/x?sig=a'CANARY)b") == "http://h/x"
    assert redact("with url: /b/a.tar?Sig=CANARY (Caused") == (
        "with url: /b/a.tar (Caused"
    )


@given(st.text(st.characters(categories=["L", "N", "P", "S"])))
def test_no_word_behind_a_question_mark_is_shown(query):
    shown = redact(f"https://user:CANARY@host/a.tar?{query}CANARY failed")
    assert "CANARY" not in shown
    assert shown.startswith("https://host/a.tar")
