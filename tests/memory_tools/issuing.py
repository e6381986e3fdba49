"""Tokens as an issuer signs them, and the keys that it publishes over HTTP."""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from memory_tools.access import Principal, Scope
from memory_tools.tokens import JwtVerifier
from storage.identity import Identity
from tests.clock import Clock

ISSUER, AUDIENCE = "https://issuer.example", "https://memory.example/mcp"

SHARED = b"a shared key of at least 32 bytes"

NOW = int(Clock().now.timestamp())

CLAIMS: dict[str, Any] = {
    "iss": ISSUER,
    "aud": AUDIENCE,
    "sub": "ada",
    "iat": NOW,
    "exp": NOW + 60,
    "scope": "memory:read memory:write",
}

ADA = Principal(f"{ISSUER}#ada", "default", frozenset({Scope.READ, Scope.WRITE}), Identity.of(user="ada"))


def signed(claims: dict[str, Any], key: Any = SHARED, algorithm: str = "HS256", **header: Any) -> str:
    return jwt.encode(claims, key, algorithm, header)


def part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def shared(**options: Any) -> JwtVerifier:
    """Return a verifier with a shared key, at the moment for which CLAIMS are made."""
    given: dict[str, Any] = {"issuer": ISSUER, "audience": AUDIENCE, "key": SHARED, "clock": Clock()}
    return JwtVerifier(**(given | options))


RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()


def published(key: Any, kid: str, **more: Any) -> dict[str, Any]:
    """Return the public half of a key as an issuer publishes it."""
    algorithm = {rsa.RSAPrivateKey: "RS256", ec.EllipticCurvePrivateKey: "ES256"}
    name = next((each for kind, each in algorithm.items() if isinstance(key, kind)), "EdDSA")
    form = jwt.get_algorithm_by_name(name).to_jwk(key.public_key(), as_dict=True)
    return {**form, "kid": kid, "use": "sig", "alg": name, **more}


class Issuer:
    """A server on this machine that publishes keys, and counts how often it was asked."""

    def __init__(self) -> None:
        self.keys: list[dict[str, Any]] = [published(RSA, "1")]
        self.answer: bytes | None = None
        """What it says instead of its keys."""

        self.status = 200
        self.location: str | None = None
        self.asked = 0
        self.hold = threading.Event()
        """It answers only while this is set."""

        self.hold.set()
        self.reached = threading.Event()
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked += 1
                issuer.reached.set()
                issuer.hold.wait(30)
                body = issuer.answer if issuer.answer is not None else json.dumps({"keys": issuer.keys}).encode()
                self.send_response(issuer.status)
                if issuer.location is not None:
                    self.send_header("Location", issuer.location)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/keys"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def close(self) -> None:
        if self.thread.is_alive():
            self.server.shutdown()
            self.thread.join()
            self.server.server_close()
