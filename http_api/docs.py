"""Docs: the page on which a person tries the API out, and the description that it reads.

The page is Swagger UI from a CDN, the only thing that any answer lets a browser load; nothing of memory goes there.
"""

import re
from base64 import b64encode
from hashlib import sha256
from typing import Final

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse

OPENAPI: Final = "/openapi.json"
DOCS: Final = "/docs"

CDN: Final = "https://cdn.jsdelivr.net/npm/swagger-ui-dist@5/"
"""Where the page has its script and its style from."""

_SCRIPT: Final = re.compile(r"<script>(.*?)</script>", re.DOTALL)


def add_docs(app: FastAPI) -> None:
    """Add the page and the description to an app."""

    async def openapi(request: Request) -> JSONResponse:
        root = _root(request)
        servers = {"servers": [{"url": root}]} if root else {}
        return JSONResponse(app.openapi() | servers)

    async def page(request: Request) -> HTMLResponse:
        shown = get_swagger_ui_html(
            openapi_url=f"{_root(request)}{OPENAPI}",
            title=app.title,
            swagger_js_url=f"{CDN}swagger-ui-bundle.js",
            swagger_css_url=f"{CDN}swagger-ui.css",
            swagger_favicon_url="data:,",
        )
        shown.headers["Content-Security-Policy"] = _policy(bytes(shown.body).decode())
        return shown

    app.add_api_route(OPENAPI, openapi, include_in_schema=False)
    app.add_api_route(DOCS, page, include_in_schema=False)


def _root(request: Request) -> str:
    """Return the path that the app is mounted at; nothing where it stands alone."""
    root: str = request.scope.get("root_path", "")
    return root.rstrip("/")


def _policy(page: str) -> str:
    """Return what the page may load: the CDN's files, and the one script that stands in it, known by its digest."""
    digests = [b64encode(sha256(script.encode()).digest()).decode() for script in _SCRIPT.findall(page)]
    scripts = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {CDN} {scripts}; style-src {CDN} 'unsafe-inline'; img-src data:; "
        "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    )
