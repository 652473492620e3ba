"""`python -m parties` is the `distaim` command."""

from parties.cli import main

main()
