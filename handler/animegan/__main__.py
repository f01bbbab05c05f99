"""`python -m animegan`: the `animegan` command, where it is installed beside the engine."""

from animegan_cli.main import main

main()
