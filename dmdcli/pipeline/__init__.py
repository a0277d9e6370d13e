"""The jobs behind the commands, each a generator of events."""
