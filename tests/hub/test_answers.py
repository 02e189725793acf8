"""Nothing of what is shown is a credential, whatever it came in."""

import pytest

from fiberaug.errors import DataRefused, StoreError, UsageError
from fiberaug.hub.answers import Answers, status_of

TOKEN = "words-that-look-like-nothing"  # noqa: S105  # of this test


@pytest.mark.parametrize(
    "text",
    [f"you sent {TOKEN}", f"authorization: Bearer {TOKEN}", f"{TOKEN}\n{TOKEN}",
     "another hf_abcdefghijklmnop", "Bearer abc.def.ghi", "authorization: abc.def.ghi",
     "PUT https://store/x?X-Amz-Signature=abc.def.ghi failed",
     "https://me:abc.def.ghi@host/x"],
)  # fmt: skip
def test_credentials_are_taken_out_of_any_text(text):
    shown = Answers("https://hub", TOKEN).shown(text)
    for secret in (TOKEN, "abc.def.ghi", "hf_abcdefghijklmnop"):
        assert secret not in shown
    assert "\n" not in shown


class Failed(Exception):
    """An error of a client, with an answer."""

    def __init__(self, status, said="odd"):
        super().__init__(said)
        self.response = type("Answer", (), {"status_code": status})()
        self.server_message = said


@pytest.mark.parametrize(
    ("status", "kind", "again"),
    [(400, DataRefused, False), (401, UsageError, False), (403, UsageError, False),
     (404, UsageError, False), (413, DataRefused, False), (429, StoreError, True),
     (500, StoreError, True), (503, StoreError, True), (408, StoreError, True)],
)  # fmt: skip
def test_a_status_is_a_kind_of_error_also_behind_another(status, kind, again):
    answers = Answers("https://hub", TOKEN)
    outer = RuntimeError("wrapped")
    outer.__cause__ = Failed(status)
    for error in (Failed(status), outer):
        assert status_of(error) == status
        assert type(answers.translated(error, doing="work")) is kind
        assert answers.may_pass(error) == again


def test_a_broken_connection_may_pass_and_an_unknown_error_may_not():
    answers = Answers("https://hub", TOKEN)
    assert answers.may_pass(ConnectionResetError())
    assert not answers.may_pass(ValueError("x"))
    assert type(answers.translated(ValueError("x"), doing="work")) is StoreError


def test_errors_that_go_round_are_followed_once():
    first, second = ValueError("a"), ValueError("b")
    first.__cause__, second.__cause__ = second, first
    assert status_of(first) is None
