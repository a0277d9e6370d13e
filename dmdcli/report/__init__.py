"""The account of what was done in an output folder, made of its journal: for eyes, for scripts, for spreadsheets."""
