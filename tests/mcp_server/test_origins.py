import itertools
import json
import socket
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import pytest

from mcp_server import create_app, create_server
from memory_tools.memory import Memory
from tests.mcp_server.conftest import UNPACED
from tests.mcp_server.serving import Caller, Held, bearer, holder, request, served

ISSUER: Final = "https://login.example.com"
URL: Final = "https://memory.example.com/mcp"

HOSTS: Final = {
    "own": ["{own}"],
    "own in capitals": ["{OWN}"],
    "other own names": ["localhost:{port}"],
    "foreign": ["evil.example"],
    "foreign with the port": ["evil.example:{port}"],
    "an address as prefix": ["127.0.0.1.evil.example"],
    "a name as prefix": ["localhost.evil.example:{port}"],
    "missing": [],
    "given twice": ["{own}", "{own}"],
    "own and foreign": ["{own}", "evil.example"],
    "with a trailing dot": ["localhost.:{port}"],
    "with a user": ["user@127.0.0.1:{port}"],
    "with no port behind the colon": ["127.0.0.1:notaport"],
    "any address": ["0.0.0.0:{port}"],
}
"""What may stand in the Host header of a request; only the first three are names of the server."""

ORIGINS: Final = {
    "absent": [],
    "own": ["http://{own}"],
    "own over https": ["https://{own}"],
    "null": ["null"],
    "foreign": ["http://evil.example"],
    "foreign over https": ["https://evil.example"],
    "foreign with the port": ["http://evil.example:{port}"],
    "another port": ["http://127.0.0.1:1"],
    "another port over https": ["https://localhost:1"],
    "given twice": ["http://{own}", "http://{own}"],
}
"""What may stand in the Origin header; only with the first three a request is not foreign."""

KNOWN_HOSTS: Final = ["own", "own in capitals", "other own names"]
KNOWN_ORIGINS: Final = ["absent", "own", "own over https"]

PLACES: Final = {
    "POST /mcp": 200,
    "GET /health": 200,
    "GET /.well-known/oauth-protected-resource": 404,
    "GET /nowhere": 404,
    "DELETE /mcp": 405,
}
"""What can be asked, and what is answered where nobody has to show a token."""


@pytest.mark.parametrize("address", ["127.0.0.1", "localhost", "::1", "0.0.0.0"])
def test_no_foreign_host_and_no_foreign_origin_is_served_anywhere(open_memory: Memory, address: str) -> None:
    places, token = dict(PLACES), dict[str, str]()
    if address == "0.0.0.0":
        server = create_server(open_memory, pace=UNPACED)
        tokens = Held({"a": holder("ada")})
        app = create_app(
            server, open_memory, verifiers=[tokens], url=URL, authorization_servers=[ISSUER], listens_on=address
        )
        token = bearer("a")
        places["GET /.well-known/oauth-protected-resource"] = 200
        places["GET /.well-known/oauth-protected-resource/mcp"] = 200
    else:
        server = create_server(open_memory, person=open_memory.of(user="ada"), pace=UNPACED)
        app = create_app(server, open_memory, listens_on=address)
    wrong = []
    with served(app, address) as url:
        parts = urlsplit(url)
        at = ("127.0.0.1" if address == "0.0.0.0" else parts.hostname, parts.port)
        own = f"127.0.0.1:{parts.port}" if address == "0.0.0.0" else parts.netloc
        words = {"own": own, "OWN": own.upper(), "port": parts.port}
        for place, host, origin in itertools.product(places, HOSTS, ORIGINS):
            hosts = [each.format(**words) for each in HOSTS[host]]
            named = words if host != "other own names" else words | {"own": f"localhost:{parts.port}"}
            origins = [each.format(**named) for each in ORIGINS[origin]]
            status = raw(at, place, hosts, origins, token)
            known = host in KNOWN_HOSTS and origin in KNOWN_ORIGINS
            if status != places[place] if known else status not in (400, 403, 421):
                wrong.append((place, host, origin, status))
            if not known and host in KNOWN_HOSTS and status != 403:  # as the protocol has it
                wrong.append((place, host, origin, status))
    assert wrong == []


def raw(address: Any, place: str, hosts: list[str], origins: list[str], token: Mapping[str, str]) -> int:
    """Send a request with exactly these headers and return the status of the answer."""
    headers, message = request("2026-07-28", "tools/list")
    method, _, path = place.partition(" ")
    body = json.dumps(message).encode() if method == "POST" else b""
    lines = [
        f"{method} {path} HTTP/1.1",
        *(f"Host: {each}" for each in hosts),
        *(f"Origin: {each}" for each in origins),
    ]
    headers |= token | {
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Connection": "close",
    }
    lines += [f"{name}: {value}" for name, value in headers.items()]
    with socket.create_connection(address, timeout=30) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode() + body)
        return int(connection.makefile("rb").readline().split()[1])


def test_the_server_goes_by_the_host_of_its_address_and_by_those_it_was_given(open_memory: Memory) -> None:
    app = create_app(
        create_server(open_memory, pace=UNPACED),
        open_memory,
        verifiers=[Held({"a": holder("ada")})],
        url=URL,
        hosts=["memory.lan"],
        origins=["https://chat.example.com"],
    )
    with served(app) as url:
        asking = Caller(f"{url}/mcp", headers=bearer("a"))
        statuses = {
            (host, origin): asking.ask(
                "tools/list", None, Host=host, **({"Origin": origin} if origin else {})
            ).status_code
            for host in ("memory.example.com", "memory.lan:8365", "evil.example")
            for origin in (None, "https://memory.example.com", "https://chat.example.com", "https://evil.example")
        }
        # A proxy in front may have put its own name for this server in the place of the one that the page knows.
        behind_proxy = asking.ask("tools/list", Origin="https://memory.example.com").status_code
    assert behind_proxy == 200
    assert statuses == {
        ("memory.example.com", None): 200,
        ("memory.example.com", "https://memory.example.com"): 200,
        ("memory.example.com", "https://chat.example.com"): 200,
        ("memory.example.com", "https://evil.example"): 403,
        ("memory.lan:8365", None): 200,
        ("memory.lan:8365", "https://memory.example.com"): 200,
        ("memory.lan:8365", "https://chat.example.com"): 200,
        ("memory.lan:8365", "https://evil.example"): 403,
        ("evil.example", None): 421,
        ("evil.example", "https://memory.example.com"): 421,
        ("evil.example", "https://chat.example.com"): 421,
        ("evil.example", "https://evil.example"): 403,
    }


def test_browsers_are_told_that_pages_of_allowed_origins_may_ask(open_memory: Memory) -> None:
    page = "https://chat.example.com"
    app = create_app(
        create_server(open_memory), open_memory, verifiers=[Held({"a": holder("ada")})], origins=[f"{page}/"]
    )
    wanted = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,mcp-method"}
    with served(app) as url, httpx.Client(verify=False, trust_env=False) as client:
        before = client.options(f"{url}/mcp", headers={"Origin": page} | wanted)
        refused = client.post(f"{url}/mcp", headers={"Origin": page})
        foreign = client.options(f"{url}/mcp", headers={"Origin": "https://evil.example"} | wanted)
    assert (before.status_code, before.headers["access-control-allow-origin"]) == (200, page)
    assert "authorization" in before.headers["access-control-allow-headers"]
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, page)
    assert refused.headers["access-control-expose-headers"] == "WWW-Authenticate"
    assert foreign.status_code == 403
    assert not any(name.startswith("access-control") for name in foreign.headers)


def test_where_no_origin_is_allowed_browsers_are_told_nothing(open_memory: Memory) -> None:
    with (
        served(create_app(create_server(open_memory), open_memory)) as url,
        httpx.Client(verify=False, trust_env=False) as client,
    ):
        answer = client.options(f"{url}/mcp", headers={"Origin": url, "Access-Control-Request-Method": "POST"})
    assert answer.status_code == 405
    assert not any(name.startswith("access-control") for name in answer.headers)
