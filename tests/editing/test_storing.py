"""Edited photos as files."""

import io

import numpy as np
import pytest
from editors import exif_of, jpeg, photo, png
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from fiberaug.decode.header import ImageLimits, read_header
from fiberaug.decode.image import decode_image
from fiberaug.editing.storing import encode_plane, store
from fiberaug.embedding import container_of
from fiberaug.marking import COMPOSITE, mark, read_mark

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def stored(parent, encode="png", change=None):
    pixels, header = decode_image(
        parent, limits=ImageLimits(), color="keep", depth="keep"
    )
    pixels = pixels.copy() if change is None else change(pixels.copy())
    extension, data = store(pixels, parent, header, encode)
    found, again = decode_image(data, limits=ImageLimits(), color="keep", depth="keep")
    return pixels, header, extension, data, found, again


@settings(deadline=None, max_examples=80)
@given(
    st.integers(1, 40), st.integers(1, 40), st.integers(1, 8),
    st.sampled_from(["png", "webp"]), st.sampled_from(["jpeg", "png", "webp"]),
)  # fmt: skip
def test_pixels_and_orientation_come_back_without_loss(
    width, height, orientation, encode, kind
):
    file = io.BytesIO()
    Image.fromarray(photo(width, height)).save(
        file,
        kind,
        exif=exif_of(orientation),
        **({"lossless": True} if kind == "webp" else {}),
    )

    pixels, header, extension, data, found, again = stored(file.getvalue(), encode)

    assert extension == encode
    assert header.orientation == orientation
    assert again[1:] == header[1:], "stored size and orientation"
    assert (found == pixels).all()
    assert read_mark(data) == COMPOSITE


@pytest.mark.parametrize("encode", ["png", "webp", "keep"])
def test_exif_profile_and_xmp_come_along(encode):
    parent = jpeg(photo(40, 30), 6, icc_profile=PROFILE)
    packet = (
        b'<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta'
        b' xmlns:x="adobe:ns:meta/"><rdf:RDF'
        b' xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description'
        b' rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/"'
        b' dc:source="the street"/></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    )
    parent = container_of(parent).put(parent, packet)

    data = stored(parent, encode)[3]

    with Image.open(io.BytesIO(data)) as image:
        exif = image.getexif()
        assert exif[0x010F] == "A maker"
        assert exif[0x0112] == 6
        assert image.info["icc_profile"] == PROFILE
    found = container_of(data).find(data)[1]
    assert b"the street" in found
    assert read_mark(data) == COMPOSITE


def test_exif_behind_the_pixels_of_a_png_is_found():
    plain = png(photo(20, 10))
    late = png(photo(20, 10), exif=exif_of(6))
    at = late.index(b"eXIf") - 4
    length = int.from_bytes(late[at : at + 4], "big") + 12
    parent = plain[:-12] + late[at : at + length] + plain[-12:]

    _, header, _, data, _, again = stored(parent)

    assert header.orientation == again.orientation == 6
    assert read_header(data).orientation == 6


def test_an_orientation_that_only_the_parent_can_say_is_said():
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 8
    Image.fromarray(photo(20, 10)).save(file, "TIFF", exif=exif)

    pixels, header, _, _, found, again = stored(file.getvalue())

    assert header.orientation == again.orientation == 8
    assert (found == pixels).all()


@pytest.mark.parametrize("sampling", [0, 1, 2])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_that_is_kept_has_the_tables_of_its_parent(sampling, progressive):
    parent = jpeg(
        photo(64, 48) // 4, quality=71, subsampling=sampling, progressive=progressive
    )

    pixels, _, extension, data, found, _ = stored(parent, "keep")

    assert extension == "jpg"
    with Image.open(io.BytesIO(parent)) as old, Image.open(io.BytesIO(data)) as new:
        assert new.quantization == old.quantization
        assert new.layer == old.layer
        assert new.info.get("progressive") == old.info.get("progressive")
    assert abs(found.astype(int) - pixels).mean() < 12, "of noise, which is the worst"


def test_a_jpeg_of_plain_rgb_is_kept_so():
    parent = jpeg(photo(64, 48) // 4, quality=95, keep_rgb=True)

    pixels, _, _, data, found, _ = stored(parent, "keep")

    with Image.open(io.BytesIO(parent)) as old, Image.open(io.BytesIO(data)) as new:
        assert new.layer == old.layer
        assert new.quantization == old.quantization
    assert abs(found.astype(int) - pixels).mean() < 0.1


def test_a_gray_jpeg_is_kept_gray():
    parent = jpeg(photo(40, 30)[:, :, 0])

    pixels, _, extension, _, found, _ = stored(parent, "keep")

    assert extension == "jpg"
    assert found.shape == pixels.shape == (30, 40, 1)


@pytest.mark.parametrize("channels", [1, 2, 4])
@pytest.mark.parametrize("encode", ["png", "webp", "keep"])
def test_channels_are_kept_where_webp_has_no_room(channels, encode):
    pixels = photo(20, 10, channels=channels)
    parent = png(pixels[:, :, 0] if channels == 1 else pixels)

    before, _, extension, _, found, _ = stored(parent, encode)

    assert extension == "png"
    assert (found == before).all()
    assert found.shape[2] == channels


def test_sixteen_bits_are_kept():
    pixels = np.random.default_rng(0).integers(0, 65536, (9, 7), np.uint16)
    parent = encode_plane(pixels)

    before, _, _, _, found, _ = stored(parent)

    assert found.dtype == np.uint16
    assert (found == before).all()


def test_a_profile_of_inks_does_not_come_along():
    cmyk = Image.fromarray(photo(16, 16)).convert("CMYK")
    file = io.BytesIO()
    profile = PROFILE[:16] + b"CMYK" + PROFILE[20:]
    cmyk.save(file, "JPEG", icc_profile=profile)

    _, _, _, data, found, _ = stored(file.getvalue())

    assert found.shape[2] == 3
    with Image.open(io.BytesIO(data)) as image:
        assert "icc_profile" not in image.info


def test_a_mark_of_the_parent_is_replaced():
    parent = mark(jpeg(photo(16, 16)), "algorithmicMedia")

    assert read_mark(stored(parent)[3]) == COMPOSITE
