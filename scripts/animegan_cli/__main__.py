"""`python -m animegan_cli`: the `animegan` command."""

from animegan_cli.main import main

main()
