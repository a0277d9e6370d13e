"""Finding and describing faces in pixels."""
