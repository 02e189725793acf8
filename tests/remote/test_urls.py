"""URLs: what is allowed, what they name, what of them is shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiberaug.errors import SecurityRefused, UsageError
from fiberaug.shards.fetching import fetch, list_folder, stat
from fiberaug.shards.urls import check_url, file_name, is_remote, join, redact

PARTS = st.text("abcXYZ019.-_~%", min_size=1, max_size=12)
SECRET = st.text("abcXYZ019", min_size=12, max_size=20)


@pytest.mark.parametrize(
    "url",
    [
        "http://h/a.tar", "https://h/a.tar?sig=1", "s3://b/a.tar", "gs://b/a.tar",
        "hf://datasets/x/y/a.tar", "HTTPS://h/a.tar",
    ],
)  # fmt: skip
def test_what_is_supported_is_remote_and_allowed(url):
    assert is_remote(url)
    check_url(url)


@pytest.mark.parametrize(
    "path", ["a.tar", "/data/a.tar", "../a b.tar", "C:\\a.tar", "a::b.tar", "x?.tar"]
)
def test_a_path_is_not_remote_and_allowed(path):
    assert not is_remote(path)
    check_url(path)


@pytest.mark.parametrize(
    "url",
    [
        "reference://x", "ftp://h/a.tar", "ssh://h/a", "git://h/a", "jupyter://h/a",
        "memory://a.tar", "data:text/plain,hello", "sftp://h/a.tar", "smb://h/a",
        "github://o:r@/a", "abfs://c/a", "zip://a.tar",
    ],
)  # fmt: skip
def test_other_protocols_are_refused_with_the_list(url):
    with pytest.raises(UsageError, match="supported are file, http, https, s3, gs, hf"):
        check_url(url)
    with pytest.raises(UsageError):
        stat(url)


@pytest.mark.parametrize(
    "url", ["http://h/a.tar::zip://b", "s3://b/a::file:///etc/passwd", "http://h/a\nb"]
)
def test_chains_and_control_characters_are_refused(url):
    with pytest.raises(SecurityRefused):
        check_url(url)


def test_a_command_is_refused_and_the_native_protocols_named(tmp_path):
    marker = tmp_path / "ran"
    for url in (f"pipe:touch {marker}", f"PIPE:touch {marker}"):
        with pytest.raises(SecurityRefused, match=r"s3://.*allow_pipe=True"):
            check_url(url)
        with pytest.raises(SecurityRefused):
            fetch(url, tmp_path / "part")
    check_url(f"pipe:touch {marker}", allow_pipe=True)
    assert not marker.exists()


def test_http_has_no_listing_and_says_what_to_do():
    with pytest.raises(UsageError, match="braces"):
        list_folder("http://127.0.0.1/set/")


@given(PARTS, PARTS, SECRET, SECRET)
def test_no_credential_survives_and_the_place_does(host, path, word, signature):
    url = f"https://me:{word}@{host}/{path}.tar?X-Sig={signature}&b={word}#{signature}"
    for text in (url, f"cannot read '{url}': gone", f"({url}) and <{url}>"):
        shown = redact(text)
        assert word not in shown.replace(f"{host}/{path}", "")
        assert signature not in shown.replace(f"{host}/{path}", "")
        assert f"https://{host}/{path}.tar" in shown


def test_a_query_without_its_url_is_redacted_too():
    text = "Max retries exceeded with url: /b/a.tar?X-Amz-Signature=abc123 (Caused by"
    assert redact(text) == "Max retries exceeded with url: /b/a.tar (Caused by"


def test_names_and_joins_keep_the_query_of_the_folder():
    assert file_name("s3://bucket/set/a-000.tar") == "a-000.tar"
    assert file_name("https://h/x/a.tar?name=b.tar#c.tar") == "a.tar"
    assert join("https://h/set/?sig=1", "a.tar") == "https://h/set/a.tar?sig=1"
    assert join("s3://b/set", "a.tar") == "s3://b/set/a.tar"
