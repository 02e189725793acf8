"""Regions of real photos made anew, labels kept."""
