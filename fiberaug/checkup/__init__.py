"""Is everything as a run wants it? Shards, epoch and machine, looked at from outside.

:func:`fiberaug.checkup.examining.examine` asks all questions; each other module answers
one kind of them.
"""
