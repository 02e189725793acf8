"""Laws of names: two files never have one, and what belongs together is named alike."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiberaug.errors import SecurityRefused
from fiberaug.foldering.naming import Names, find_clashes

stems = st.text("ab_01-.é", min_size=1, max_size=4).filter(lambda s: s.strip(".") == s)
places = st.builds(
    "{}{}.{}".format, st.sampled_from(["", "a/", "a/b/"]), stems,
    st.sampled_from(["jpg", "png", "gif", "JPG", "heic"]),
)  # fmt: skip


@given(
    places=st.lists(places, unique=True, max_size=12),
    copies=st.integers(1, 12),
    encode=st.sampled_from(["keep", "png", "webp"]),
    alone=st.booleans(),
)
def test_no_two_files_have_one_name(places, copies, encode, alone):
    clashes = find_clashes(places, encode=encode, alone=alone)
    made = [
        Names.of(place, copy, copies=copies, encode=encode, stem=clashes.get(number))
        for number, place in enumerate(places)
        for copy in range(copies)
    ]
    images = [names.image for names in made]

    assert len(set(images)) == len(images)
    if not alone:
        texts = [name.rpartition(".")[0] for name in images]
        assert len(set(texts)) == len(texts)
    if copies == 1 and encode == "keep":
        kept = [
            n
            for n, place in enumerate(places)
            if n not in clashes and place[-3:] != "gif"
        ]
        assert all(images[n] == places[n] for n in kept if places[n][-4:] != "heic")


@pytest.mark.parametrize(
    ("place", "side", "expected"),
    [
        ("a/b.jpg", "a/b.txt", "a/b_3.txt"),
        ("images/b.c.jpg", "m/b.c.png", "m/b.c_3.png"),
        ("b.jpg", "b_mask.png", "b_3_mask.png"),
        ("b.jpg", "b_mask_7.png", "b_3_mask_7.png"),
        ("b.jpg", "x/other.xml", "x/other_3.xml"),
        ("caf\u00e9.jpg", "cafe\u0301_mask.png", "caf\u00e9_3_mask.png"),
    ],
)  # fmt: skip
def test_files_beside_a_photo_have_its_name(place, side, expected):
    names = Names.of(place, 3, copies=4, encode="keep")

    assert names.side(side) == expected
    assert Names.of(place, 0, copies=1, encode="keep").side(place) == place


@pytest.mark.parametrize("place", ["../a.jpg", "/a.jpg", "a/../../b.jpg"])
def test_a_path_that_leads_out_is_refused(place):
    with pytest.raises(SecurityRefused, match="leads out"):
        Names.of(place, 0, copies=1, encode="keep")
