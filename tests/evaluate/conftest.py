"""scikit-learn, the other implementation, without what it leaves in the environment."""

import os

_NAME = "KMP_DUPLICATE_LIB_OK"  # which the doctor warns of, in all tests that follow
_before = os.environ.get(_NAME)
import sklearn  # noqa: E402, F401

if _before is None:
    os.environ.pop(_NAME, None)
