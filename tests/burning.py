"""An operation that takes a known part of a CPU, on any machine."""

import time

import fiberaug

__all__ = ["Burn"]


class Burn(fiberaug.ImageProcessor):
    """Takes 3 ms of a CPU."""

    def _process(self, image):
        until = time.process_time() + 0.003
        while time.process_time() < until:
            pass
        return image
