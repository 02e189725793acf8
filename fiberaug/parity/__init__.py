"""A user's present loader beside ours: the same samples, labels, pixels, and how fast.

:func:`fiberaug.parity.against.compare` does it all.
"""
