"""`python -m usermemory`: the command line."""

from usermemory.commands import main

main()
