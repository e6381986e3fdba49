"""Memory inside LangGraph: the update loop and its nodes."""
