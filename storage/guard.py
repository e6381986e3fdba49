"""The guard: what a change to a document may not do unless an operator does it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Self, TypeAlias
from unicodedata import category, normalize

from storage.equality import same
from storage.errors import InvalidInput
from storage.json_types import Document, Json
from storage.loss import Loss, lost_share, replaced_texts
from storage.pointer import pointer
from storage.trust import Trust
from storage.words import appearance, look_alike

Rule: TypeAlias = Literal["protected", "loss", "text_replaced", "trust"]


@dataclass(frozen=True, slots=True)
class GuardRules:
    """What the guard holds a change for. Shares are from 0 to 1, and more than the share is held."""

    protected: tuple[str, ...] = ("safety_notes",)
    """Members of the document that may grow, but not be rewritten or removed."""

    loss: float = 0.30
    """Share of the words of the old document that the new one may be without."""

    loss_floor: int = 20
    """Words that may always go, as long as any are left: in a document of five words each edit is a great loss."""

    text_loss: float = 0.70
    """Share of the telling words of one long text that its next version may be without."""

    long_text: int = 15
    """Different telling words (see `words.telling_words`) in a long text: about 40 words of English."""

    hold_below: Trust = Trust.AGENT
    """The lowest trust that is not held."""

    def __post_init__(self) -> None:
        if not (0 <= self.loss <= 1 and 0 <= self.text_loss <= 1):
            raise InvalidInput("A share that may be lost is a number from 0 to 1.")


DEFAULT_RULES = GuardRules()


@dataclass(frozen=True, slots=True)
class Objection:
    """One reason to hold a change."""

    rule: Rule
    pointer: str
    """The JSON pointer of the place in question; empty for the whole document."""

    share: float | None
    """The share of words lost, from 0 to 1, where the rule is about one."""

    message: str
    """The reason as a sentence. It repeats nothing of the document but the names of members."""

    def as_json(self) -> dict[str, Json]:
        """Return this objection as a JSON object, without a share where there is none."""
        share = {} if self.share is None else {"share": self.share}
        return {"rule": self.rule, "pointer": self.pointer, **share, "message": self.message}

    @classmethod
    def from_json(cls, value: Mapping[str, Json]) -> Self:
        """Return the objection that `as_json` wrote."""
        return cls(value["rule"], value["pointer"], value.get("share"), value["message"])


def examine(
    before: Document,
    after: Document,
    rules: GuardRules = DEFAULT_RULES,
    *,
    trust: Trust,
    narrowed: tuple[Document, Document] | None = None,
) -> tuple[Objection, ...]:
    """Return why the change from `before` to `after` must wait for somebody's consent; empty if it need not.

    It compares documents, not paths of a patch, so that no way of writing a patch gets around it. `trust` is that of
    the change; an operator's is never held. `narrowed` are the two documents, known to differ, without parts known to
    be equal: these need not be looked for then.
    """
    if trust >= Trust.OPERATOR or (narrowed is None and same(before, after)):
        return ()
    objections = _low_trust(trust, rules) + _protected(before, after, rules)
    return tuple(objections + _loss(before, after, rules, Loss(*(narrowed or (before, after)))))


def _low_trust(trust: Trust, rules: GuardRules) -> list[Objection]:
    if trust >= rules.hold_below:
        return []
    message = f"The change is trusted as {trust.label} only; it is held below {rules.hold_below.label}."
    return [Objection("trust", "", None, message)]


def _protected(before: Document, after: Document, rules: GuardRules) -> list[Objection]:
    """Object to each protected member that did not merely grow, and to each new member that looks like one."""
    objections = []
    for name in rules.protected:
        if not _grew(before.get(name), after.get(name)):
            message = f"{name} may grow, but only an operator may rewrite or remove it."
            objections.append(Objection("protected", pointer([name]), None, message))
    for name in sorted(after.keys() - before.keys()):
        if name not in rules.protected and any(look_alike(name, known) for known in rules.protected):
            message = "The new member looks like a protected one and would stand in its place."
            objections.append(Objection("protected", pointer([name]), None, message))
    return objections


def _grew(before: Json, after: Json) -> bool:
    """Tell whether `after` still says all that `before` said. What was empty said nothing."""
    if before in (None, "", [], {}) or same(before, after):
        return True
    if isinstance(before, str) and isinstance(after, str):
        return _text_grew(before, after)
    if isinstance(before, dict) and isinstance(after, dict):
        added = map(appearance, after.keys() - before.keys())
        return all(name in after and _grew(value, after[name]) for name, value in before.items()) and (
            set(map(appearance, before)).isdisjoint(added)
        )
    if isinstance(before, list) and isinstance(after, list):
        rest = iter(after)
        return all(any(_grew_entry(entry, candidate) for candidate in rest) for entry in before)
    return False


def _grew_entry(before: Json, after: Json) -> bool:
    """Tell whether a list entry grew into `after`; an empty one is only found again in an empty one."""
    return same(before, after) if before in (None, "", [], {}) else _grew(before, after)


def _text_grew(before: str, after: str) -> bool:
    """Tell whether each line of `before` stands unbroken in `after`, in the same order.

    Words between the words of a line could turn its meaning around, so a line is one piece; the mark that ended it may
    change. Of letters only case and composition are folded: what is folded away could be changed unseen.
    """
    if _unseen(after) - _unseen(before):
        return False
    text, position = f" {_folded(after)} ", 0
    for line in before.splitlines():
        piece = _folded(line).rstrip(" .,;:!")
        if piece:
            position = _end_of(piece, text, position)
            if position < 0:
                return False
    return True


def _folded(text: str) -> str:
    return " ".join(normalize("NFC", text).casefold().split())


def _unseen(text: str) -> set[str]:
    """Return the control and format characters of `text` that could change what is read: not the joiners of emoji."""
    if text.isprintable():
        return set()
    return {char for char in set(text) if category(char) in ("Cc", "Cf") and char not in "\n\r\t\u200c\u200d"}


def _end_of(piece: str, text: str, start: int) -> int:
    """Return where `piece` ends in `text`, as whole words and from `start` on; -1 if it is not there."""
    at = text.find(f" {piece}", start)
    while at >= 0:
        stop = end = at + 1 + len(piece)
        while text[stop] in ".,;:!":
            stop += 1
        if text[stop] == " ":
            return end
        at = text.find(f" {piece}", at + 1)
    return -1


def _loss(before: Document, after: Document, rules: GuardRules, loss: Loss) -> list[Objection]:
    """Object to each long text that was replaced, and to the loss of too much of the whole."""
    objections = []
    for text, share in replaced_texts(loss, most=rules.text_loss, long=rules.long_text):
        message = f"{share:.0%} of the telling words of a long text are gone; {rules.text_loss:.0%} may go."
        objections.append(Objection("text_replaced", pointer(text.place), round(share, 4), message))
    whole = lost_share(loss, before, after, most=rules.loss, floor=rules.loss_floor)
    if whole is not None:
        message = f"{whole:.0%} of the words of the document are gone; {rules.loss:.0%} may go."
        objections.append(Objection("loss", "", round(whole, 4), message))
    return objections
