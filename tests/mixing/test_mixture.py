"""Why samples are late is said in one line."""

import pytest

from fiberaug.mixture import reason_of


class Told:
    """What is made on demand, as far as a reason asks for it."""

    def __init__(self, text):
        self.text = text

    def why(self):
        return self.text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ""),
        ("\n \n", ""),
        ("it loads", "it loads"),
        ("Traceback:\n  File x\nValueError: no weights \n", "ValueError: no weights"),
    ],
)
def test_the_reason_is_the_last_line(text, said):
    assert reason_of(Told(text)) == said
