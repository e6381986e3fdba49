"""Work that waits: the worker, its schedule, and the jobs that it does."""
