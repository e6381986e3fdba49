"""Visible text: memory as it may be shown to a model, without characters that hide a text or turn it around."""

import json
import re
from unicodedata import category

from storage.json_types import Json

_BLANK = "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"
"""Letters, marks and symbols that show nothing."""


class _Visible(dict[int, int | None]):
    """For `str.translate`: drops what a reader does not see, and what changes the order in which text is shown."""

    def __missing__(self, code: int) -> int | None:
        character = chr(code)
        dropped = (
            category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")
            or character in _BLANK
            or 0xE0000 <= code <= 0xE0FFF  # tags, and the variation selectors in which whole texts were hidden
            or 0xFE00 <= code <= 0xFE0D
            or code in (0x180B, 0x180C, 0x180D, 0x180F)
        )
        self[code] = None if dropped and character not in "\n\t\u200c\u200d" else code
        return self[code]


_VISIBLE = _Visible()

_ESCAPED = re.compile(r"\\[bfru]")
"""How JSON writes what nobody can see and it may not hold as it is. What looks like that only costs a second look."""

_SELECTED = re.compile("(^|.)[\ufe0e\ufe0f]+", re.DOTALL)
"""A character and the selectors behind it, which choose whether an emoji is text or a picture."""

_SELECTABLE = "#*0123456789\u203c\u2049\u2139\u3030\u303d"
"""What can be an emoji beside symbols."""

_PRINTABLE_BUT_UNSEEN = re.compile(f"[{_BLANK}\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0000-\U000e0fff]")
"""What Python calls printable and is dropped nevertheless; `str.isprintable` knows all the others."""

_STRAY_JOINER = re.compile(r"(?<![^\x00-\x7f\u200c\u200d])[\u200c\u200d]|[\u200c\u200d](?![^\x00-\x7f\u200c\u200d])")
"""A joiner that joins nothing: Persian, Indic scripts and emoji need single ones between their characters."""


def visible(text: str) -> str:
    """Return `text` without control, bidirectional and zero-width characters, except tabs and line ends."""
    if text.isprintable() and (text.isascii() or not _PRINTABLE_BUT_UNSEEN.search(text)):
        return text
    return _SELECTED.sub(_selected, _STRAY_JOINER.sub("", text.translate(_VISIBLE)))


def _selected(found: re.Match[str]) -> str:
    """Return an emoji with its one selector, anything else without: sequences of selectors spell out texts."""
    base = found[1]
    emoji = base != "" and (base in _SELECTABLE or category(base) in ("So", "Sk", "Sm"))
    return found[0][:2] if emoji else base


def visible_value(value: Json) -> Json:
    """Return `value` with only visible characters in its texts: once escaped, the others could not be told.

    A name that looks like another one only without them never takes the place of the member that has it.
    """
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, dict):
        shown = {visible(name): visible_value(member) for name, member in value.items()}
        if len(shown) < len(value):
            shown |= {name: visible_value(member) for name, member in value.items() if visible(name) == name}
        return shown
    if isinstance(value, list):
        return [visible_value(entry) for entry in value]
    return value


def visible_line(value: Json) -> str:
    """Return `value` as JSON on one line, so that no text in it can begin one: line ends are escaped."""
    line = json.dumps(value, ensure_ascii=False)
    return line if is_visible(line) else json.dumps(visible_value(value), ensure_ascii=False)


def is_visible(written: str) -> bool:
    """Tell whether JSON text holds nothing that is dropped, neither as it is nor escaped."""
    return visible(written) == written and not ("\\" in written and _ESCAPED.search(written))
