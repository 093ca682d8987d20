"""`python -m stepdown`."""

from stepdown.cli.main import main

main()
