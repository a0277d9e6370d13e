"""`python -m dmdcli`, the `dmd` command; torchrun starts it so."""

from dmdcli.cli.main import main

if __name__ == "__main__":
    main()
