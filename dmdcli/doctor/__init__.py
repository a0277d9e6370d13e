"""Says what is wrong with this machine, where it is not well enough for `dmd` to work."""
