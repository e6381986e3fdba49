"""A server with one tool that does nothing: what the SDK itself costs."""

from mcp.server import MCPServer

server = MCPServer("nothing", log_level="ERROR")


@server.tool(structured_output=False)
async def nothing(key: str, value: str = "") -> str:
    """Do nothing."""
    return key


if __name__ == "__main__":
    server.run("stdio")
