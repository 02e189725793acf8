"""Augmentation of whole batches: drawn for units, recorded for each sample."""
