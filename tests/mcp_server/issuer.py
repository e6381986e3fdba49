"""An issuer: an authorization server that signs tokens, and publishes its keys over HTTP."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key

from memory_tools.tokens import JwtVerifier

ISSUER: Final = "https://login.example.com"
RESOURCE: Final = "https://memory.example.com/mcp"
KID: Final = "2026-11"

LIFETIME: Final = 600
"""Seconds for which tokens are valid."""


@dataclass(frozen=True)
class Issuer:
    """Signs tokens for this server, unless it is told otherwise."""

    jwks_url: str
    key: EllipticCurvePrivateKey

    def token(self, user: str | None = "ada", scope: str = "memory:read memory:write", **claims: Any) -> str:
        """Return a token; a claim that is None is left out."""
        now = int(datetime.now(UTC).timestamp())
        said = {"iss": ISSUER, "aud": RESOURCE, "sub": user, "scope": scope, "iat": now, "exp": now + LIFETIME} | claims
        kept = {name: value for name, value in said.items() if value is not None}
        return jwt.encode(kept, self.key, algorithm="ES256", headers={"kid": KID})

    def verifier(self, **options: Any) -> JwtVerifier:
        """Return what knows these tokens."""
        return JwtVerifier(issuer=ISSUER, audience=RESOURCE, jwks_url=self.jwks_url, **options)


@contextmanager
def issuing() -> Iterator[Issuer]:
    """Publish a new key."""
    key = generate_private_key(SECP256R1())
    public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key()))
    keys = json.dumps({"keys": [public | {"kid": KID, "use": "sig", "alg": "ES256"}]}).encode()

    class Publishing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(keys)))
            self.end_headers()
            self.wfile.write(keys)

        def log_request(self, *_: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Publishing) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield Issuer(f"http://127.0.0.1:{server.server_port}/keys", key)
        server.shutdown()
        thread.join()
