"""Bearer: who holds the one token of a request, whichever door it came to."""

import logging

import pytest

from memory_tools.access import TOKEN_LIMIT, Principal
from memory_tools.bearer import principal_of
from storage.errors import DatabaseUnavailable, Unauthenticated
from tests.mcp_server.serving import Held, holder

ADA = holder("ada")
HELD = Held({"of-ada": ADA, "": ADA, "x" * (TOKEN_LIMIT + 1): ADA})


class Broken:
    """A verifier of a host's own that fails, and says with which token."""

    def verify(self, token: str) -> Principal | None:
        raise ValueError(token)


@pytest.mark.parametrize("said", ["Bearer of-ada", "bearer of-ada", "BEARER  of-ada "])
def test_the_one_token_says_who_asks(said: str) -> None:
    assert principal_of([Held({}), HELD], [said]) == ADA


@pytest.mark.parametrize(
    "said",
    [
        [],
        [""],
        ["of-ada"],
        ["Basic of-ada"],
        ["Bearer"],
        ["Bearer "],
        ["Bearer of-bob"],
        ["Bearer of-ada of-ada"],
        [f"Bearer {'x' * (TOKEN_LIMIT + 1)}"],
        ["Bearer of-ada", "Bearer of-ada"],
        ["Bearer of-ada", "Basic YTpi"],
    ],
    ids=lambda said: repr(said)[:40],
)
def test_without_one_token_that_somebody_knows_nobody_asks(said: list[str]) -> None:
    with pytest.raises(Unauthenticated):
        principal_of([HELD], said)


def test_where_nobody_can_say_whose_a_token_is_nothing_of_it_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), pytest.raises(DatabaseUnavailable, match="try again later") as raised:
        principal_of([Broken(), HELD], ["Bearer of-ada"])
    assert "of-ada" not in f"{raised.value!r} {raised.value.__cause__!r} {caplog.text}"
    assert "a token cannot be verified: ValueError" in caplog.text
