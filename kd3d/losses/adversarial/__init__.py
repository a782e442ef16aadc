"""Losses of a discriminator and of what it looks at."""
