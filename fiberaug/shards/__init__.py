"""Shards: tar files of samples, read without ever ending quietly."""
