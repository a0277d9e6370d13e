"""The local page: faces looked at, put right by hand, and results accepted or sent back."""
