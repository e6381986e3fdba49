"""Visible text: what a stranger once said must not move the cursor, recolour the terminal or turn a line around."""

import json
from unicodedata import category

_UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Control and format characters (ESC, bidirectional overrides), half surrogates, line and paragraph separators."""

_JOINERS = "\u200c\u200d"
"""Needed in Persian, in Indian scripts and in emoji."""


def visible(text: str) -> str:
    r"""Return `text` in one line, with escapes such as `\u001b` for what could not be seen."""
    if text.isprintable():
        return text
    return "".join(
        [
            json.dumps(character)[1:-1] if category(character) in _UNSEEN and character not in _JOINERS else character
            for character in text
        ]
    )
