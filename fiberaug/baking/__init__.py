"""Samples as a loader would stream them, written as shards: decode once, read often."""
