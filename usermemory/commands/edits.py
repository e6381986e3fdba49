"""Edits: what became of a text, word by word, as `git diff --word-diff` shows it."""

import re
from collections.abc import Iterator
from difflib import SequenceMatcher

import click

from usermemory.commands.visible import visible

CONTEXT = 24
"""Characters that are shown of what stayed, before and after what changed."""

COMPARED_WORDS = 2_000
"""Words of both texts together that are compared one by one: about 0.1 seconds of work at the worst."""

KEPT_SHARE = 0.4
"""Share of the words that must have stayed for an edit to be shown as one; below, it is another text."""

_WORD = re.compile(r"\s*\S+|\s+$")


def edited(old: str, new: str) -> str | None:
    """Return `new` in one line, with [-what went-] and {+what came+}; None when it is rather another text."""
    pieces = _edits(old, new)
    if pieces is None:
        return None
    shown = []
    for place, (kept, removed, added) in enumerate(pieces):
        shown += [_context(kept, first=place == 0, last=not (removed or added)), *_marked(removed, added)]
    return "".join(shown)


def gist(old: str, new: str) -> str | None:
    """Return only what went and what came; None when it is rather another text."""
    pieces = _edits(old, new)
    if pieces is None:
        return None
    return " … ".join(
        click.unstyle("".join(_marked(removed, added))) for _, removed, added in pieces if removed or added
    )


def _edits(old: str, new: str) -> list[tuple[str, str, str]] | None:
    """Return what stayed, what went and what came, in turns; None where little stayed or the texts are very long."""
    one, two = _WORD.findall(old), _WORD.findall(new)
    if len(one) + len(two) > COMPARED_WORDS:
        return None
    matcher = SequenceMatcher(None, one, two, autojunk=False)
    if matcher.ratio() < KEPT_SHARE:
        return None
    return list(_turns(matcher, one, two))


def _turns(matcher: "SequenceMatcher[str]", one: list[str], two: list[str]) -> Iterator[tuple[str, str, str]]:
    kept = ""
    for what, from_one, to_one, from_two, to_two in matcher.get_opcodes():
        if what == "equal":
            kept = "".join(one[from_one:to_one])
        else:
            yield kept, "".join(one[from_one:to_one]), "".join(two[from_two:to_two])
            kept = ""
    if kept:
        yield kept, "", ""


def _context(kept: str, *, first: bool, last: bool) -> str:
    """Return a little of what stayed, in whole words, next to what changed on either side of it."""
    start = "" if first else kept[:CONTEXT].rpartition(" ")[0]
    end = "" if last else "".join(kept[-CONTEXT:].partition(" ")[1:])
    return visible(kept if len(kept) <= 2 * CONTEXT else f"{start} …{end}".lstrip())


def _marked(removed: str, added: str) -> Iterator[str]:
    if removed:
        yield click.style(f"[-{visible(removed)}-]", fg="red")
    if added:
        yield click.style(f"{{+{visible(added)}+}}", fg="green")
