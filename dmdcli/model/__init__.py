"""The DMDNet network: pure torch, knows nothing of photo files, people or the terminal."""
