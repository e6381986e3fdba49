"""usermemory: long-term user memory for LLM agents."""
