"""How good restored faces are, measured against the true ones."""
