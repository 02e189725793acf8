"""What an online generator is told is checked when it is told."""

import pytest
from onlines import CLASSES, make, right

from fiberaug.errors import UsageError
from fiberaug.synthetic.online import OnlineGenerator
from fiberaug.synthetic.pool import Pool


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"factory": lambda: None}, "cannot be sent to another process"),
        ({"factory": "onlines"}, "must be module:function"),
        ({"factory": 3}, "must be a function"),
        ({"classes": []}, "classes must be different names"),
        ({"classes": "abc"}, "classes must be different names"),
        ({"classes": ["a", "a"]}, "classes must be different names"),
        ({"seed": -1}, "seed must be"),
        ({"ahead": -1}, "ahead must be"),
        ({"batch_size": 0}, "batch_size must be"),
        ({"restarts": 1.5}, "restarts must be"),
        ({"most_bytes": "many"}, "most_bytes must be"),
        ({"wait": -1}, "wait must be"),
        ({"wait": float("nan")}, "wait must be"),
        ({"hang": 0}, "hang must be"),
        ({"encoding": "gif"}, "encoding must be"),
    ],
)
def test_arguments_are_checked_when_it_is_made(tmp_path, options, said):
    with pytest.raises(UsageError, match=said):
        OnlineGenerator(
            **{"factory": make, "folder": tmp_path, "classes": CLASSES, **options}
        )


@pytest.mark.parametrize("address", [(3, 0), (-1, 0), (0, -1), (0, 2**40), ("a", 0)])
def test_an_address_that_cannot_be_is_refused(tmp_path, address):
    source = OnlineGenerator(make, tmp_path, classes=CLASSES)

    for method in (source.take, source.confirm):
        with pytest.raises(UsageError, match="must be an integer"):
            method(*address)


def test_a_relative_folder_stays_where_it_was_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = OnlineGenerator(make, "here", classes=CLASSES, keep="kept")
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "there")

    with source:
        assert right(source.take(0, 0), 0, 0)
        source.confirm(0, 0)
    assert (tmp_path / "here/ready").is_dir()
    assert len(Pool.open(tmp_path / "kept")) == 1
