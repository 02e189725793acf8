"""``fiberaug bench``: how fast a set comes, where the time goes, and what helps."""
