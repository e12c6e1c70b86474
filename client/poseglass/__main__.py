"""`python -m poseglass`."""

from poseglass.cli import main

main()
