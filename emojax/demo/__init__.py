"""The embedded demo: drawn faces with known emotions and action units; training of its networks."""
