"""What 1,000 flipped bits do: counted by tests, shown in docs/hazards.md."""

__all__ = ["FLIPPED"]

FLIPPED = {
    "a shard with an index": (900, 0, 100),
    "an index": (1000, 0, 0),
    "a shard without an index": (51, 900, 49),
}
"""Reported, silent, harmless."""
