import base64
import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

from mcp_server import create_app, create_server
from memory_tools.access import Principal, Scope
from memory_tools.keys import ApiKeys
from memory_tools.memory import Memory
from storage.database import Database
from storage.directory import resolve
from storage.erase import erase
from storage.errors import DatabaseUnavailable
from storage.identity import Identity
from tests.mcp_server.conftest import UNPACED
from tests.mcp_server.issuer import ISSUER, KID, RESOURCE, Issuer, issuing
from tests.mcp_server.serving import (
    Caller,
    Held,
    bearer,
    challenged,
    holder,
    request,
    served,
    served_to,
    texts,
)

METADATA: Final = "/.well-known/oauth-protected-resource"


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with issuing() as opened:
        yield opened


@pytest.fixture(scope="module")
def protected(open_memory: Memory, issuer: Issuer) -> Iterator[str]:
    """The address of a server that takes the issuer's tokens."""
    server = create_server(open_memory, pace=UNPACED)
    verifiers = [issuer.verifier()]
    app = create_app(server, open_memory, verifiers=verifiers, url=RESOURCE, authorization_servers=[ISSUER])
    with served(app) as url:
        yield url


def test_without_a_token_a_client_is_told_where_to_get_one(protected: str, era: str) -> None:
    answer = Caller(f"{protected}/mcp", era).call("get_user_memory")
    metadata = f"https://memory.example.com{METADATA}/mcp"
    assert answer.status_code == 401
    assert challenged(answer) == {"scope": "memory:read", "resource_metadata": metadata}
    assert answer.json()["error"]["code"] == "unauthenticated"


@pytest.mark.parametrize("place", [METADATA, f"{METADATA}/mcp"])
def test_the_metadata_of_the_resource_is_there_for_everybody(protected: str, place: str) -> None:
    answer = httpx.get(protected + place)
    assert answer.json() == {
        "resource": RESOURCE,
        "authorization_servers": [ISSUER],
        "scopes_supported": ["memory:read", "memory:write"],
        "bearer_methods_supported": ["header"],
        "resource_name": "User memory",
    }


def test_where_nobody_gives_tokens_there_is_no_metadata(open_memory: Memory) -> None:
    with served_to(open_memory, {}) as url:
        assert challenged(Caller(url).ask("tools/list")) == {"scope": "memory:read"}
        assert httpx.get(url.replace("/mcp", METADATA)).status_code == 404


def test_the_holder_of_a_token_is_asked_about(protected: str, open_memory: Memory, issuer: Issuer, era: str) -> None:
    open_memory.of(user="ada").items.set("whose", "it", "ada's")
    asking = Caller(f"{protected}/mcp", era, bearer(issuer.token("ada")))
    assert json.loads(texts(asking.call("get_memory_item", {"namespace": "whose", "key": "it"})))["value"] == "ada's"
    assert "not_found" in texts(asking.call("get_memory_item", {"key": "it"}, **bearer(issuer.token("bob"))))


def unsigned(issuer: Issuer) -> str:
    _, claims, _ = issuer.token().split(".")
    header = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT","kid":"%s"}' % KID.encode()).rstrip(b"=").decode()
    return f"{header}.{claims}."


def signed_by(key: Any, algorithm: str, **header: str) -> str:
    claims = {"iss": ISSUER, "aud": RESOURCE, "sub": "ada", "scope": "memory:read", "exp": 4_000_000_000}
    return jwt.encode(claims, key, algorithm=algorithm, headers={"kid": KID} | header)


def now(seconds: int) -> int:
    return int((datetime.now(UTC) + timedelta(seconds=seconds)).timestamp())


@pytest.mark.parametrize(
    "forged",
    [
        pytest.param(lambda issuer: issuer.token(exp=now(-60)), id="expired"),
        pytest.param(lambda issuer: issuer.token(exp=None), id="without an end"),
        pytest.param(lambda issuer: issuer.token(nbf=now(600)), id="not yet valid"),
        pytest.param(lambda issuer: issuer.token(aud="https://mail.example.com"), id="for somebody else"),
        pytest.param(lambda issuer: issuer.token(aud=None), id="for nobody"),
        pytest.param(lambda issuer: issuer.token(aud=f"{RESOURCE}/"), id="for another path"),
        pytest.param(lambda issuer: issuer.token(iss="https://evil.example"), id="of another issuer"),
        pytest.param(lambda issuer: issuer.token(iss=None), id="of no issuer"),
        pytest.param(lambda issuer: issuer.token(None), id="of nobody"),
        pytest.param(lambda issuer: issuer.token(""), id="of an empty name"),
        pytest.param(lambda issuer: issuer.token("ada\0"), id="of a name with NUL"),
        pytest.param(lambda issuer: issuer.token(" ada"), id="of a name with a space before it"),
        pytest.param(unsigned, id="without a signature"),
        pytest.param(lambda issuer: signed_by(generate_private_key(SECP256R1()), "ES256"), id="by another key"),
        pytest.param(lambda issuer: signed_by(issuer.key, "ES256", kid="other"), id="by a key nobody published"),
        pytest.param(lambda issuer: signed_by("k" * 64, "HS256"), id="by a key of another kind"),
        pytest.param(lambda issuer: issuer.token()[:-4] + "AAAA", id="with another signature"),
        pytest.param(lambda issuer: issuer.token("a" * 9_000), id="of 12 KB"),
        pytest.param(lambda issuer: "x" * 9_216, id="of 9 KB"),
        pytest.param(lambda issuer: "um_0123456789ab_" + "A" * 43, id="of another kind"),
        pytest.param(lambda issuer: issuer.token() + " " + issuer.token(), id="two in one"),
    ],
)
def test_a_token_that_is_not_valid_is_refused(protected: str, issuer: Issuer, forged: Any, era: str) -> None:
    answer = Caller(f"{protected}/mcp", era, bearer(forged(issuer))).call("get_user_memory")
    assert answer.status_code == 401
    said = challenged(answer)
    assert (said["error"], said["scope"]) == ("invalid_token", "memory:read")
    assert said["resource_metadata"].endswith(f"{METADATA}/mcp")
    nothing_special = Caller(f"{protected}/mcp", era, bearer("x")).call("get_user_memory")
    assert (answer.content, said) == (nothing_special.content, challenged(nothing_special))


def test_a_token_anywhere_but_in_its_header_is_none(protected: str, issuer: Issuer) -> None:
    token = issuer.token()
    for url in (f"{protected}/mcp?access_token={token}", f"{protected}/mcp?token={token}"):
        assert challenged(Caller(url).call("get_user_memory")).get("error") is None
    elsewhere = {"Cookie": f"access_token={token}", "X-Api-Key": token, "Proxy-Authorization": f"Bearer {token}"}
    assert Caller(f"{protected}/mcp", headers=elsewhere).call("get_user_memory").status_code == 401


def test_a_request_shows_one_token(protected: str, issuer: Issuer) -> None:
    headers, message = request("2026-07-28", "tools/list")
    for second in (issuer.token("bob"), issuer.token("ada"), "x"):
        both = [*headers.items(), ("Authorization", f"Bearer {issuer.token()}"), ("Authorization", f"Bearer {second}")]
        assert httpx.post(f"{protected}/mcp", headers=both, json=message).status_code == 401
    beside = [*headers.items(), ("Authorization", f"Bearer {issuer.token()}"), ("authorization", "Basic YTpi")]
    assert httpx.post(f"{protected}/mcp", headers=beside, json=message).status_code == 401


def test_the_scheme_is_bearer_in_whatever_letters(protected: str, issuer: Issuer) -> None:
    token = issuer.token()
    asking = Caller(f"{protected}/mcp")
    for given in (f"bearer {token}", f"BEARER  {token}"):
        assert asking.ask("tools/list", None, Authorization=given).status_code == 200
    for given in (token, f"Basic {token}", f"Bearer{token}", f"Token {token}"):
        answer = asking.ask("tools/list", None, Authorization=given)
        assert (answer.status_code, challenged(answer).get("error")) == (401, None)


def test_what_is_wrong_with_a_token_is_known_before_the_message_is_read(protected: str) -> None:
    answer = httpx.post(f"{protected}/mcp", content=b"{" * 5_000_000, headers=bearer("x"))
    assert answer.status_code == 401


def test_the_key_of_an_erased_unknown_or_expired_person_is_any_invalid_token(
    memory: Memory, operators_database: Database
) -> None:
    operator = Memory(operators_database)
    keys = ApiKeys(operator)
    valid = keys.create(user="ada").token
    erased = keys.create(user="bob").token
    revoked = keys.create(user="ada")
    keys.revoke(revoked.key.id)
    app = create_app(create_server(memory, pace=UNPACED), memory, verifiers=[ApiKeys(memory)])
    with served(app) as url:
        asking = Caller(f"{url}/mcp")
        assert asking.call("get_user_memory", {}, **bearer(erased)).status_code == 200
        erase(operators_database, resolve(operators_database, Identity.of(user="bob")).owner)
        answers = {
            (answer.status_code, answer.content, answer.headers["www-authenticate"])
            for token in (erased, revoked.token, f"um_{'0' * 12}_{'A' * 43}", valid.upper(), "x")
            for answer in [asking.call("get_user_memory", {}, **bearer(token))]
        }
        assert asking.call("get_user_memory", {}, **bearer(valid)).status_code == 200
    operator.threads.close()
    assert len(answers) == 1


class Broken:
    """A verifier of a host that fails, and quotes the token."""

    def __init__(self, error: type[Exception]) -> None:
        self._error = error

    def verify(self, token: str) -> Principal | None:
        raise self._error(f"cannot look up {token}")


@pytest.mark.parametrize("error", [RuntimeError, KeyError, DatabaseUnavailable])
def test_where_nobody_can_say_whose_a_token_is_the_client_is_to_come_back(
    open_memory: Memory, error: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    app = create_app(create_server(open_memory), open_memory, verifiers=[Broken(error)])
    with caplog.at_level(logging.DEBUG), served(app) as url:
        answer = Caller(f"{url}/mcp", headers=bearer("quetzalcoatl")).ask("tools/list")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "database_unavailable")
    assert "quetzalcoatl" not in answer.text + caplog.text
    assert error.__name__ in caplog.text


# What nobody gets to see.
def test_neither_tokens_nor_names_reach_the_log(
    open_memory: Memory, issuer: Issuer, caplog: pytest.LogCaptureFixture
) -> None:
    server = create_server(open_memory, pace=UNPACED)
    tokens = {"quetzalcoatl": holder(None, list(Scope))}
    with (
        caplog.at_level(logging.WARNING),
        served(create_app(server, open_memory, verifiers=[issuer.verifier(), Held(tokens)])) as url,
    ):
        asking = Caller(f"{url}/mcp", headers=bearer("quetzalcoatl"))
        for said in ({"Memory-User": "xiuhcoatl"}, {"Memory-User": "%0axiuhcoatl"}, {"Memory-Phone": "xiuhcoatl"}):
            asking.call("set_memory_item", {"key": "tlaloc", "value": "tlaloc"}, **said)
            asking.call("tlaloc", {"tlaloc": "tlaloc"}, **said)
            asking.ask("resources/read", {"uri": "memory://me/items/tlaloc/tlaloc"}, **said)
            asking.ask("tlaloc", None, **said)
        asking.call("get_user_memory", {}, **bearer("quetzalcoatl.quetzalcoatl.quetzalcoatl"))
    logged = caplog.text + "".join(str(vars(record)) for record in caplog.records)
    for secret in ("quetzalcoatl", "xiuhcoatl", "tlaloc"):
        assert secret not in logged


def test_neither_a_token_nor_a_digest_is_in_what_is_kept_of_it(memory: Memory, operators_database: Database) -> None:
    operator = Memory(operators_database)
    made = ApiKeys(operator).create(user="ada")
    principal = ApiKeys(memory).verify(made.token)
    operator.threads.close()
    secret = made.token.split("_", 2)[2]  # which may hold one itself
    assert secret not in f"{made!r} {principal!r} {principal} {vars(ApiKeys(memory))!r}"
