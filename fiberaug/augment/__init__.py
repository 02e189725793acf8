"""The only code that imports Albumentations."""

import os

# Albumentations asks the package index for news when it is imported, unless told not
# to.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
