"""Words: what a text says, counted, and whether two names look the same to a reader."""

import re
from unicodedata import category, normalize

_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
"""Thai, Lao, Burmese, Khmer, kana and Han: written without spaces between words."""

_WORD = re.compile(r"\w+")
_RUN = re.compile(rf"[{_UNSPACED}]+|[^\W{_UNSPACED}]+")
_IN_UNSPACED = re.compile(rf"[{_UNSPACED}]").match

_TELLING_LENGTH = 5
"""Letters of a word that tells one text from another: shorter ones are in every text."""

_SHORT_WORDED = "\u0590"
"""The first character after the Latin, Greek, Cyrillic and Armenian scripts."""

_LOOKS_LIKE = str.maketrans(
    {
        letter: latin
        # Cyrillic, Armenian, Latin and Greek letters, and digits, as a reader takes them (compare UTS 39, confusables).
        for latin, letters in {
            "a": "аɑα",
            "b": "вβ",
            "c": "с",
            "d": "ԁđ",
            "e": "еε",
            "f": "ƒ",
            "g": "ցɡ",
            "h": "нһհħ",
            "i": "іɩıιl1",
            "j": "ј",
            "k": "кκ",
            "m": "м",
            "n": "ոηᴎ",
            "o": "оօøοσ0",
            "p": "рρ",
            "q": "ԛ",
            "s": "ѕꜱ",
            "t": "тτŧ",
            "u": "սυ",
            "v": "ν",
            "w": "ԝω",
            "x": "хχ",
            "y": "уγ",
        }.items()
        for letter in letters
    }
)


def words(text: str) -> list[str]:
    """Return the words of `text`, folded (NFKC, casefold), in order.

    Where a script puts no spaces between words, each pair of neighbouring characters stands for one.
    """
    if text.isascii():
        return _WORD.findall(text.lower())
    found: list[str] = []
    for run in _RUN.findall(normalize("NFKC", text).casefold()):
        if len(run) > 2 and _IN_UNSPACED(run):
            found += [run[index : index + 2] for index in range(len(run) - 1)]
        else:
            found.append(run)
    return found


def most_words(text: str) -> int:
    """Return a number that `len(words(text))` never exceeds, without reading the text."""
    return (len(text) + 1) // 2 if text.isascii() else _MOST_FOLDED * len(text)


_MOST_FOLDED = 18
"""Characters that NFKC makes of one at the most: U+FDFA, a whole Arabic phrase."""


def has_words(text: str) -> bool:
    """Tell whether there is any word in `text`."""
    return _WORD.search(text) is not None or bool(words(text))


def telling_words(text: str) -> set[str]:
    """Return the different words of `text` that tell it from another text: those of five letters or more.

    From Hebrew on (scripts of short words, or without spaces between them) every word counts.
    """
    return {word for word in words(text) if len(word) >= _TELLING_LENGTH or word >= _SHORT_WORDED}


def rewritten(before: str, after: str) -> tuple[str, str]:
    """Return the stretches of two texts between what they begin with and what they end with in common.

    Both are cut at spaces only, so that the words taken off are the same on both sides.
    """
    length = min(len(before), len(after))
    start = _common_start(before, after, length)
    while start and not before[start - 1].isspace():
        start -= 1
    end = _common_end(before, after, length - start)
    while end and not before[-end].isspace():
        end -= 1
    return before[start : len(before) - end], after[start : len(after) - end]


def _common_start(one: str, other: str, most: int) -> int:
    """Return how many characters both texts begin with in common, by halving: comparing a slice is one call in C."""
    least = 0
    while least < most:
        middle = (least + most + 1) // 2
        if one[least:middle] == other[least:middle]:
            least = middle
        else:
            most = middle - 1
    return least


def _common_end(one: str, other: str, most: int) -> int:
    """Return how many characters, up to `most`, both texts end with in common."""
    least = 0
    while least < most:
        middle = (least + most + 1) // 2
        if one[len(one) - middle : len(one) - least] == other[len(other) - middle : len(other) - least]:
            least = middle
        else:
            most = middle - 1
    return least


def look_alike(name: str, other: str) -> bool:
    """Tell whether a reader, a person or a model, may take `name` for `other`.

    Case, accents, separators and format characters do not count. Letters of another script stand for the one that
    they look like, and for any one where at least half of the name is plainly the same.
    """
    one, two = appearance(name), appearance(other)
    if one == two:
        return True
    if len(one) != len(two) or (one.isascii() and two.isascii()):
        return False
    pairs = list(zip(one, two, strict=True))
    equal = sum(a == b for a, b in pairs)
    return equal * 2 >= len(pairs) and all(a == b or a.isascii() is not b.isascii() for a, b in pairs)


def appearance(name: str) -> str:
    """Return the letters and digits of `name` as a reader takes them, the same for names that look the same.

    A name without any, such as an emoji, is taken as it is.
    """
    letters = name
    if not name.isascii():
        letters = "".join([char for char in normalize("NFKD", name) if category(char)[0] in "LN"]).casefold()
    return "".join(_WORD.findall(letters.lower())).replace("_", "").translate(_LOOKS_LIKE) or name
