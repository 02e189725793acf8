"""The only code that imports Albumentations."""
