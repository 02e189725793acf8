"""Laws of OpenCV: it decodes or raises, says nothing, and is left as it was."""

import io
import threading

import cv2
import numpy as np
import pytest
from PIL import Image
from sets import photo

from fiberaug.decode.header import ImageHeader, read_header
from fiberaug.decode.opencv import decode_native, decode_rgb
from fiberaug.errors import SampleBroken

LOG = cv2.utils.logging


def saved(pixels, kind="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture
def level():
    before = LOG.setLogLevel(LOG.LOG_LEVEL_WARNING)
    yield LOG.LOG_LEVEL_WARNING
    LOG.setLogLevel(before)


@pytest.mark.parametrize("decode", [decode_rgb, decode_native])
def test_a_refusal_is_raised_and_not_printed(decode, level, capfd):
    data = saved(photo(0), "BMP")[:-9]

    with pytest.raises(SampleBroken, match=r"BMP of \d+ bytes cannot be decoded"):
        decode(data, read_header(data))

    assert capfd.readouterr() == ("", "")
    cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert "imdecode" in capfd.readouterr().err, "OpenCV had something to say"
    assert LOG.getLogLevel() == level


def test_threads_that_overlap_leave_the_log_as_it_was(level):
    data = saved(photo(0, 300, 300))

    def work():
        for _ in range(30):
            decode_rgb(data, read_header(data))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert LOG.getLogLevel() == level


def test_an_exception_of_opencv_is_named():
    with pytest.raises(SampleBroken, match="OpenCV refuses the PNG: error: ") as caught:
        decode_rgb(b"", ImageHeader("png", 1, 1, 1))

    assert isinstance(caught.value.__cause__, cv2.error)


def test_channels_that_opencv_does_not_give_are_refused():
    data = saved(photo(0))
    header = read_header(data)

    assert decode_native(data, header, 1).shape == (40, 48, 1)
    with pytest.raises(SampleBroken, match="has 4 channels, OpenCV gives 3"):
        decode_native(data, header, 4)
