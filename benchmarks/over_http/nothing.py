"""A server with one route of FastAPI that does nothing, served as ours is: what the framework itself costs."""

from fastapi import FastAPI

from benchmarks.over_http.listening import listening
from usermemory.listening import serve_http

app = FastAPI()


@app.get("/nothing")
@app.put("/nothing")
async def nothing() -> None:
    """Do nothing. It is async and takes no parameters: nothing is cheaper."""


if __name__ == "__main__":
    with listening() as listener:
        serve_http(app, listener)
