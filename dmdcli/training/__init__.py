"""Degradations, data and the training loop."""
