"""Greeting: what a voice agent needs to know before it says hello, found without a model."""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final, NamedTuple, Protocol
from unicodedata import category, normalize

from memory_tools.known import Known
from memory_tools.visible import visible
from storage.json_types import Json

NAME_LIMIT = 60
"""Characters of a name."""

NAME_WORDS = 3
"""Words of a name that was said."""

GREETING_TEXT = 5_000
"""Characters of one text in which a name is looked for: of a longer one, half at its beginning and half at its end."""


class Totals(Protocol):
    """What the conversations of one person come to, such as `storage.conversations.Totals`."""

    @property
    def conversations(self) -> int:
        """How many there were."""

    @property
    def tokens(self) -> int:
        """Tokens that they cost."""

    @property
    def last_interaction_at(self) -> datetime | None:
        """When a message was last kept; None before the first."""


def greeting_facts(known: Known, totals: Totals) -> dict[str, Any]:
    """Return what to greet a person with, as JSON: `known`, `name`, `conversations`, `last_interaction_at` (ISO).

    `name` is None where nobody said it. It holds letters, marks, apostrophes, hyphens, spaces and dots only, but may
    still be anything that somebody called themselves: it is data, as all of memory.
    """
    last = totals.last_interaction_at
    return {
        "known": bool(known) or totals.conversations > 0,
        "name": person_name(known),
        "conversations": totals.conversations,
        "last_interaction_at": last.isoformat() if last else None,
    }


def person_name(known: Known) -> str | None:
    """Return what the person is called, at most NAME_LIMIT characters: the document's `name`, else the newest said.

    What the person said lately counts before what is written in the facts, the summary and the profile.
    """
    given = known.document.get("name")
    names = [_given_name(given)] if isinstance(given, str) else []
    own = (_last_name(said.text, _SAID) for said in reversed(known.said) if said.role == "user")
    written = (_last_name(text, _SAID + _WRITTEN) for text in _texts(known))
    return next((name for found in (names, own, written) for name in found if name), None)


class _Way(NamedTuple):
    """One way to bring in a name."""

    opening: re.Pattern[str]
    closing: re.Pattern[str] = re.compile("")
    """What must follow the name."""

    alone: bool = False
    """Whether the opening also comes before what somebody is, such as a nationality."""


def _opening(phrases: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![^\W_])(?i:{phrases})[ \t]+")


_CALLED: Final = _opening(
    r"my (?:full |first |real )?name(?: is|'s)|i(?: am|'m) (?:called|named)|call me"
    r"|mein name ist|ich hei(?:ß|ss)e|nenn(?:en sie)? mich|(?:mijn naam is|ik heet)"
    r"|mi nombre es|(?<!no )me llamo|(?<!não )me chamo|meu nome é"
    r"|mon nom est|je m'appelle|(?<!non )mi chiamo|il mio nome è"
)
_AFTER_NAME: Final = re.compile(
    r'[ \t]*(?:$|[.,;:!?)"\n–—]|- |(?i:and|but|from|here|with|speaking|calling|again|by the way)\b)'
)
_ON_THE_PHONE: Final = re.compile(r"[ \t]+(?i:speaking|calling|here|again|am apparat)\b")
_LABEL: Final = re.compile(r"(?:^|[\n.;])[ \t*-]*(?i:(?:(?:user'?s?|full|first|preferred) )?name)[ \t*]*:[ \t*]*")

_SAID: Final = (
    _Way(_CALLED),
    _Way(_opening(r"i(?: am|'m)"), _AFTER_NAME, alone=True),
    _Way(_opening(r"this is|it(?: is|'s)|hier (?:ist|spricht)"), _ON_THE_PHONE),
)
"""How people say what they are called."""

_WRITTEN: Final = (
    _Way(_opening(r"(?:user|person|caller|customer|client)(?:'s (?:full |first )?name is| is (?:called|named))")),
    _Way(_LABEL),
)
"""How others write it down."""

_DENIED: Final = re.compile(r"(?i:n't|\b(?:not|never|stop|used to|do you|did you|would you|why|if|as)(?: \w+)?)[ \t]*$")
"""What turns what follows around, or asks about it."""

_DENIED_WITHIN = 40
"""Characters before an opening in which that is looked for."""

_WHOLE_NAME = 2 * NAME_LIMIT
"""Characters that hold a name and what must follow it."""

_LETTER = r"[^\W\d_][\u0300-\u036f]*"
_WORD: Final = re.compile(
    rf"(?:(?:Dr|Mr|Mrs|Ms|Prof|St|{_LETTER})\.(?= {_LETTER})|(?:{_LETTER})+(?:['-](?:{_LETTER})+)*)"
)

_OTHER_WORDS, _STATES, _PARTICLES = (
    frozenset(words.split())
    for words in (
        """
        about admin again all also always am and anytime are asap assistant at back because but by calling disregard
        everything for forget from here his how i if ignore in instruction instructions is it its just later maybe me
        my never nicht no nobody not nothing now of off ok okay on only or override please previous prompt reveal
        sorry speaking system that the their then there they this today tomorrow tonight too until user was what when
        where who why with yes you your
        monday tuesday wednesday thursday friday saturday sunday january february march october november december
        """,
        """
        a actually afraid agnostic already american an asian asking atheist australian austrian aware bad belgian
        black brazilian british buddhist busy canadian catholic chinese christian confused cuban czech danish
        divorced doing done dutch early egyptian english european excited female fine finished finnish french german
        gay glad god going gonna good great greek happy her hindu home hungarian hungry indian interested iranian
        iraqi irish israeli italian jamaican japanese jewish korean late latina latino lesbian looking lost mad male
        married mexican mormon muslim new norwegian old orthodox pakistani persian polish portuguese protestant ready
        really right romanian russian sad saying scared scottish serious she sick sikh single so some spanish still
        straight stuck sure swedish swiss taking talking thai thinking tired trans trying turkish ukrainian unable
        unsure vegan vegetarian very vietnamese waiting welsh well white working worried wrong
        """,
        "al bin da de del della den der di do dos du e el ibn la le san ten ter van von y zu",
    )
)
"""Words that begin no name and end one; that begin none after "I am"; that are written small inside one."""


def _texts(known: Known) -> Iterator[str]:
    """Yield what is written about the person: facts from the newest on, the summary, the profile."""
    facts: Json = known.document.get("facts")
    found = [fact.get("text") if isinstance(fact, dict) else fact for fact in facts] if isinstance(facts, list) else []
    for text in (*reversed(found), known.document.get("summary"), known.profile):
        if isinstance(text, str):
            yield text


def _last_name(text: str, ways: tuple[_Way, ...]) -> str:
    """Return the last name in `text` that is brought in by one of these ways; empty when there is none."""
    if len(text) <= GREETING_TEXT:
        return _last_within(text, ways)
    half = GREETING_TEXT // 2
    # At the cut a name would lose its end, or what denies it.
    return _last_within(text[-half:], ways, after=_DENIED_WITHIN) or _last_within(text[:half], ways, before=_WHOLE_NAME)


def _last_within(text: str, ways: tuple[_Way, ...], *, after: int = 0, before: int = 0) -> str:
    """Return the last name that is brought in so many characters after the beginning and before the end."""
    text = normalize("NFC", visible(text)).replace("’", "'")
    names = {
        match.end(): _name_at(text, match.end(), way)
        for way in ways
        for match in way.opening.finditer(text, after, max(after, len(text) - before))
        if not _DENIED.search(text, max(0, match.start() - _DENIED_WITHIN), match.start())
    }
    return next((names[place] for place in sorted(names, reverse=True) if names[place]), "")


def _name_at(text: str, start: int, way: _Way) -> str:
    """Return the capitalised words at `start`, if what follows them is as it must be; else an empty text."""
    words: list[str] = []
    place = end = start
    while len(words) < NAME_WORDS and (match := _WORD.match(text, place)):
        word = match[0].casefold()
        if not match[0][0].isupper() or word in _OTHER_WORDS or (way.alone and not words and word in _STATES):
            break
        words.append(match[0])
        end = match.end()
        place = end + 1 if text[end : end + 1] == " " else len(text)
    name = " ".join(words)
    fits = len(name) <= NAME_LIMIT and not name.casefold().endswith("'s") and way.closing.match(text, end)
    return name if fits else ""


def _given_name(given: str) -> str:
    """Return a name that stands for itself, if it can be one; else an empty text."""
    name = normalize("NFC", visible(given)).replace("’", "'").strip(" ")
    words = name.split(" ")
    possible = (
        0 < len(name) <= NAME_LIMIT
        and all(category(each)[0] in "LM" or each in "'-. " for each in name)
        and any(map(str.isalpha, name))
        and not any(word.casefold() in _OTHER_WORDS for word in words)
        and (len(words) == 1 or not any(word[:1].islower() and word not in _PARTICLES for word in words))
    )
    return name if possible else ""
