"""What tests of marks share: files of every kind, and readers that are not ours."""

import io
import json
import shutil
import struct
import subprocess
import tarfile
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from fiberaug.synthetic.provenance import Generated, Parameters, Provenance
from fiberaug.synthetic.truth import pixels_sha256

__all__ = [
    "KINDS",
    "VOCABULARY",
    "exiftool",
    "foreign",
    "made",
    "packet",
    "shard_members",
    "stated",
]

VOCABULARY = "http://cv.iptc.org/newscodes/digitalsourcetype/"
IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
KINDS = (
    "png", "png-palette", "png-alpha", "png-16", "jpeg", "jpeg-gray",
    "jpeg-progressive", "webp", "webp-lossless", "webp-alpha", "webp-animated",
)  # fmt: skip


def packet(inside: str = "", description: str = "") -> bytes:
    """An XMP packet of another program, with a title and a description's attributes."""
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="another">\n'
        ' <r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#">\n'
        '  <r:Description r:about="uuid:7" xmlns:dc="http://purl.org/dc/elements/1.1/"'
        f' xmlns:e="{IPTC}" dc:format="image/x &amp; &quot;y&quot;" {description}>\n'
        "   <dc:creator><r:Seq><r:li>Ähm &lt;B&gt;</r:li></r:Seq></dc:creator>"
        f"{inside}\n  </r:Description>\n </r:RDF>\n</x:xmpmeta>\n"
        + " " * 200
        + '<?xpacket end="w"?>'
    ).encode()


def made(kind, pixels, *, exif=False, icc=False, xmp=None, after=b""):
    """Pixels [H, W, 3] as a file of a kind, by Pillow."""
    name, _, form = kind.partition("-")
    image, options = _drawn(form, pixels)
    if form in {"lossless", "alpha"} and name == "webp":
        options |= {"lossless": True, "exact": True}
    if exif:
        block = Image.Exif()
        block[0x0112], block[0x010E] = 1, "a description"
        options["exif"] = block.tobytes()
    if icc:
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
        options["icc_profile"] = profile.tobytes()
    if xmp is not None and name != "png":
        options["xmp"] = xmp
    file = io.BytesIO()
    image.save(file, name.upper(), **options)
    data = file.getvalue()
    if xmp is not None and name == "png":  # as exiftool puts it: behind the pixels
        data = data[:-12] + itxt(xmp) + data[-12:]
    return data + after


def _drawn(form, pixels):
    """Pixels as Pillow's image, and what it is to be written with."""
    image = Image.fromarray(pixels)
    if form == "palette":
        return image.quantize(16), {}
    if form == "alpha":
        image.putalpha(Image.fromarray(pixels[:, :, 0]))
        return image, {}
    if form == "16":
        return Image.fromarray(pixels[:, :, 0].astype(np.uint16) * 257), {}
    if form == "gray":
        return image.convert("L"), {}
    other = Image.fromarray(255 - pixels)
    frames = {"save_all": True, "append_images": [other], "duration": 50}
    return image, {"progressive": {"progressive": True}, "animated": frames}.get(
        form, {}
    ).copy()


def itxt(xmp, *, packed=False):
    text = zlib.compress(xmp) if packed else xmp
    body = b"iTXtXML:com.adobe.xmp\0" + bytes([packed, 0, 0, 0]) + text
    return struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))


def foreign(data):
    """What Pillow makes of a file: its pixels, frames, EXIF and profile."""
    with Image.open(io.BytesIO(data)) as image:
        frames = getattr(image, "n_frames", 1)
        found = [(image.mode, image.size, image.getexif().tobytes(), frames)]
        found.append(image.info.get("icc_profile"))
        for number in range(frames):
            image.seek(number)
            found.append(image.tobytes())
        return found


def exiftool(path, *arguments):
    """What exiftool reads from a file or a folder, one entry a file."""
    program = shutil.which("exiftool")
    if program is None:
        pytest.skip("there is no exiftool (Debian: libimage-exiftool-perl)")
    command = [
        program,
        "-json",
        "-r",
        "-XMP-iptcExt:all",
        "-validate",
        "-warning",
        "-a",
    ]
    done = subprocess.run(
        [*command, *arguments, str(path)], capture_output=True, check=False
    )
    return json.loads(done.stdout or b"[]")


def shard_members(folder):
    """Members of a set, by key and extension, as tarfile reads them."""
    found = {}
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            for entry in tar:
                key, _, extension = entry.name.partition(".")
                data = tar.extractfile(entry).read()
                found.setdefault(key, {})[extension] = data
    return found


def stated(pixels, number=0, **more):
    """A provenance that is true of the pixels."""
    given = {
        "digital_source_type": "algorithmicMedia", "id": f"s{number}",
        "pixels_sha256": pixels_sha256(pixels), "label": number % 4,
        "label_origin": "conditioned",
        "generator": Generated(kind="procedural", class_name="tests.Squares"),
        "params": Parameters(seed=number, index=number, prompt="squares"),
    }  # fmt: skip
    return Provenance(**given | more)
