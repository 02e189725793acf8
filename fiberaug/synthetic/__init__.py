"""Pools of synthetic samples: generators, provenance, writing, an online source."""
