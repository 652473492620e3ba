"""`python -m parties` is the `distaim` command."""

from parties.cli.app import main

main()
