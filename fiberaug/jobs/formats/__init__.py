"""Annotation formats written: pure functions from a sample's annotations to bytes."""
