"""Work that waits: the queue, and what is on record about the jobs in it."""
