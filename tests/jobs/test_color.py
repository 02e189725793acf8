"""Images of other colour spaces become sRGB, and those of sRGB stay as they are."""

import io
import struct
from contextlib import suppress
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms
from sets import photo

from fiberaug.decode.header import ImageLimits
from fiberaug.decode.image import decode_image
from fiberaug.decode.orientation import upright
from fiberaug.errors import LimitExceeded, SampleBroken, UsageError
from fiberaug.jobs.color import to_srgb

D50 = np.array([0.9642, 1.0, 0.8249])
SRGB = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
P3 = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
ADOBE = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))
BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
SEEDS = st.integers(0, 2**32 - 1)


def to_d50(primaries):
    """Linear RGB of these primaries and white D65 to XYZ of D50."""
    xyz = np.array([[x / y, 1, (1 - x - y) / y] for x, y in primaries]).T
    white = np.array([0.3127 / 0.3290, 1, (1 - 0.3127 - 0.3290) / 0.3290])
    matrix = xyz * np.linalg.solve(xyz, white)
    scale = np.diag((BRADFORD @ D50) / (BRADFORD @ white))
    return np.linalg.inv(BRADFORD) @ scale @ BRADFORD @ matrix


def fixed(*values):
    return b"".join(struct.pack(">i", round(v * 65536)) for v in values)


def icc(space, tags, pcs=b"XYZ ", kind=b"mntr"):
    """A version 2 profile by hand, named sRGB whatever it holds."""
    tags = {b"wtpt": b"XYZ \0\0\0\0" + fixed(0.95, 1, 1.09)} | tags
    tags |= {b"desc": b"desc\0\0\0\0" + struct.pack(">I", 5) + b"sRGB\0" + bytes(78)}
    tags |= {b"cprt": b"text\0\0\0\0none\0"}
    at, table, body = 132 + 12 * len(tags), b"", b""
    for name, value in tags.items():
        table += name + struct.pack(">II", at + len(body), len(value))
        body += value + bytes(-len(value) % 4)
    head = struct.pack(">I4xI", at + len(body), 0x02400000) + kind + space + pcs
    head += bytes(12) + b"acsp" + bytes(28) + fixed(*D50)
    return head + bytes(128 - len(head)) + struct.pack(">I", len(tags)) + table + body


def curve(gamma):
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))


def rgb_profile(primaries, gamma):
    tags = {}
    for name, column in zip((b"r", b"g", b"b"), to_d50(primaries).T, strict=True):
        tags[name + b"XYZ"] = b"XYZ \0\0\0\0" + fixed(*column)
        tags[name + b"TRC"] = curve(gamma)
    return icc(b"RGB ", tags)


def encoded(linear):
    """Linear sRGB to 8 bits (IEC 61966-2-1)."""
    v = np.clip(linear, 0, 1)
    return 255 * np.where(v < 0.0031308, 12.92 * v, 1.055 * v ** (1 / 2.4) - 0.055)


def file_of(pixels, profile, kind="PNG", **options):
    out, made = io.BytesIO(), isinstance(pixels, Image.Image)
    (pixels if made else Image.fromarray(pixels)).save(
        out, kind, icc_profile=profile, **options
    )
    return out.getvalue()


def opened(data):
    image = Image.open(io.BytesIO(data))
    assert "icc_profile" not in image.info
    assert not image.getexif()
    return np.array(image)


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from([P3, ADOBE, SRGB]), st.sampled_from([1.75, 563 / 256, 2.5]), SEEDS
)
def test_pixels_of_other_colours_become_what_matrices_say(primaries, gamma, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (9, 7, 3), np.uint8)
    found = opened(to_srgb(file_of(pixels, rgb_profile(primaries, gamma))))
    to_linear = np.linalg.inv(to_d50(SRGB)) @ to_d50(primaries)
    said = encoded((pixels / 255.0) ** gamma @ to_linear.T)
    assert np.abs(found - said).max() <= 2


def test_gray_with_a_curve_of_its_own_stays_gray_and_becomes_what_the_curve_says():
    ramp = np.arange(256, dtype=np.uint8)[None].repeat(8, 0)
    profile = icc(b"GRAY", {b"kTRC": curve(1.8)})
    found = opened(to_srgb(file_of(ramp, profile)))
    assert np.abs(found - encoded((ramp / 255.0) ** (461 / 256))).max() <= 2
    deep = ramp.astype(np.uint16) * 257
    assert np.array_equal(opened(to_srgb(file_of(deep, profile))), found)


def test_cmyk_becomes_what_its_table_says_of_all_full_and_absent_inks():
    inks = np.array(list(product([0, 1], repeat=4)))
    tint = np.array([[-30, -40, -55], [-40, 70, 0], [-5, -5, 85], [-75, 0, 0]])
    lab = np.clip([100, 0, 0] + inks @ tint, [0, -128, -128], [100, 127, 127])
    lab = lab // 20 * 20  # whole in 8 bits: L is stored as L * 255 / 100
    stored = lab * [2.55, 1, 1] + [0, 128, 128]
    ramp = bytes(range(256))
    table = b"mft1" + bytes([0, 0, 0, 0, 4, 3, 2, 0]) + fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    table += ramp * 4 + stored.astype(np.uint8).tobytes() + ramp * 3
    profile = icc(b"CMYK", {b"A2B0": table}, b"Lab ", b"prtr")
    f = np.stack([lab[:, 1] / 500, 0 * lab[:, 0], -lab[:, 2] / 200], 1)
    f += (lab[:, :1] + 16) / 116
    xyz = D50 * np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29))
    said = encoded(xyz @ np.linalg.inv(to_d50(SRGB)).T)
    stripe = Image.frombytes("CMYK", (16, 1), (inks * 255).astype(np.uint8).tobytes())
    big = stripe.resize((256, 16), Image.Resampling.NEAREST)
    tiff = opened(to_srgb(file_of(stripe, profile, "TIFF")))
    jpeg = opened(to_srgb(file_of(big, profile, "JPEG", quality=100), encoding="png"))
    assert np.abs(tiff[0] - said).max() <= 2
    assert np.abs(jpeg[8, 8::16] - said).max() <= 3
    assert to_srgb(file_of(big, profile, "JPEG"))[:3] == b"\xff\xd8\xff"


def test_what_is_srgb_by_its_colours_or_has_no_profile_is_left_alone():
    own = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    renamed = own.replace("sRGB".encode("utf-16-be"), "Prnt".encode("utf-16-be"))
    assert renamed != own
    for profile, kind in product((None, own, renamed), ("JPEG", "PNG", "WEBP", "TIFF")):
        assert to_srgb(file_of(photo(1), profile, kind)) is None
    assert to_srgb(file_of(photo(1)[:, :, 0].copy(), own, "JPEG")) is None


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_the_image_is_upright_afterwards(kind, orientation):
    stored, exif = photo(3), Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 95} | ({"lossless": True} if kind == "WEBP" else {})
    file = file_of(stored, rgb_profile(SRGB, 2.2), kind, exif=exif, **options)
    found = to_srgb(file, quality=95)  # near sRGB: the pixels move little
    pixels, header = decode_image(found, limits=ImageLimits())
    assert header.format == ("png" if kind == "TIFF" else kind.lower())
    assert header.orientation == 1
    assert pixels.shape == upright(stored, orientation).shape
    assert np.abs(pixels - upright(stored, orientation).astype(int)).mean() < 20


def test_alpha_stays_and_palettes_become_colours():
    rgba = np.dstack([photo(2), photo(3)[:, :, 0]])
    profile = rgb_profile(P3, 2.2)
    for kind, options in (("PNG", {}), ("WEBP", {"lossless": True, "exact": True})):
        found = opened(to_srgb(file_of(rgba, profile, kind, **options), quality=100))
        assert np.array_equal(found[:, :, 3], rgba[:, :, 3])
    whole = opened(to_srgb(file_of(photo(2), profile)))
    palette = Image.fromarray(photo(2)).quantize(256)
    assert np.array_equal(opened(to_srgb(file_of(palette, profile))), whole)


def test_a_broken_profile_and_one_for_other_pixels_are_named():
    good = rgb_profile(P3, 2.2)
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    gray = icc(b"GRAY", {b"kTRC": curve(1.8)})
    broken = (b"no profile", good[:200], lab, gray, b"\0" * 400, good[:128])
    for profile, kind in product(broken, ("JPEG", "PNG")):
        with pytest.raises(SampleBroken, match=f"profile of {len(profile)} bytes"):
            to_srgb(file_of(photo(1), profile, kind))
    jpeg = file_of(photo(1), good, "JPEG")
    with pytest.raises(SampleBroken, match="not all there"):
        to_srgb(jpeg.replace(b"_PROFILE\0\1\1", b"_PROFILE\0\1\2"))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 399), st.integers(0, 255)), max_size=8))
def test_damaged_profiles_give_an_image_or_a_named_error(damage):
    profile = bytearray(rgb_profile(P3, 2.2))
    for place, byte in damage:
        profile[place] = byte
    with suppress(SampleBroken):
        found = to_srgb(file_of(photo(1), bytes(profile)))
        assert found is None or opened(found).shape == photo(1).shape


def test_limits_and_formats_hold_before_anything_is_decoded():
    huge = bytearray(file_of(photo(1), rgb_profile(P3, 2.2)))
    huge[16:24] = struct.pack(">II", 16_000, 16_000)
    with pytest.raises(LimitExceeded):
        to_srgb(bytes(huge))
    with pytest.raises(SampleBroken, match="no image"):
        to_srgb(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    with pytest.raises(UsageError, match="encoding"):
        to_srgb(file_of(photo(1), None), encoding="gif")
