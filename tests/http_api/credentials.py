"""Credentials: every kind of who asks over HTTP, and what each may see of the two people of `canaries`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from http_api.session import SignedCookie
from tests.http_api.canaries import CANARIES, People, bringing

JOB_TOKEN: Final = "the-token-of-the-jobs-0123456789"
SESSION_SECRET: Final = "the-secret-of-signed-cookies-0123456789"


@dataclass(frozen=True, slots=True)
class Credential:
    """Who asks, with which headers, and what of others they may see."""

    name: str
    headers: Mapping[str, str]
    sees: Sequence[str] = ()
    """Whose canaries may be in the answers."""

    names_people: bool = False
    """Whether the headers by which a person is named are generated, too."""

    paths: str = "."
    """Which paths are asked."""

    peers: Mapping[str, str] = field(default_factory=dict)
    """The tokens of people who must not see each other's objects; one by one they are who asks."""

    session: str = ""
    """The value of the cookie of a session."""

    thoroughly: bool = False
    """Whether everything is tried that Schemathesis derives from the description, or only what it draws."""

    answers: frozenset[int] = frozenset()
    """The only statuses that there may be; empty: those that the description says."""


def credentials(people: People) -> Iterator[Credential]:
    """Yield who asks; those who may change Bob's memory come last."""
    brings = {name: bringing(token) for name, token in people.tokens.items()}
    session = SignedCookie(SESSION_SECRET).sign("ada")
    both, rules, all_but_rules = tuple(CANARIES), "^/v1/configuration", "^(?!/v1/configuration)"
    yield Credential("nobody", {}, thoroughly=True, answers=frozenset({401, 404, 405}))
    peers = {name: people.tokens[name] for name in CANARIES}
    yield Credential("Ada beside Bob", {}, peers=peers, thoroughly=True)
    yield Credential("a key of Ada", brings["ada"], ("ada",), thoroughly=True)
    yield Credential("a key of Ada to read", brings["reader"], ("ada",))
    yield Credential("a key of Ada that names somebody", brings["ada"], ("ada",), names_people=True, paths="^/v1")
    yield Credential("a session of Ada", {"Sec-Fetch-Site": "same-origin"}, ("ada",), session=session)
    yield Credential("a key to act for others, for Ada", {**brings["act-as"], "Memory-User": "ada"}, ("ada",))
    yield Credential("the token of the jobs", bringing(JOB_TOKEN))
    yield Credential("an operator of another organization", brings["acme"], names_people=True)
    yield Credential("a key to act for others", brings["act-as"], both, names_people=True)
    # Memory that is switched off answers nothing else.
    yield Credential("an operator", brings["operator"], both, names_people=True, paths=all_but_rules)
    for_ada = {**brings["operator"], "Memory-User": "ada"}
    yield Credential("an operator, for Ada", for_ada, both, paths=all_but_rules, thoroughly=True)
    yield Credential("an operator of the rules", brings["operator"], both, paths=rules, thoroughly=True)
