"""``--source NAME=PATH``: each source once, and anything else is a mistake."""

import pytest

from fiberaug.cli.places import parse_sources
from fiberaug.errors import UsageError


def test_places_are_found_by_name():
    assert parse_sources(None) == {}
    assert parse_sources(["gan=a", "old=b=c/d"]) == {"gan": "a", "old": "b=c/d"}


@pytest.mark.parametrize(
    "given", [["gan"], ["=a"], ["gan="], ["gan=a", "gan=b"], [""]], ids=str
)
def test_what_names_no_place_or_names_it_twice_is_told(given):
    with pytest.raises(UsageError, match="NAME=PATH, once") as caught:
        parse_sources(given)
    assert repr(given[-1]) in str(caught.value)
