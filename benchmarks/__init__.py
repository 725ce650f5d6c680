"""Comparisons with PyTorch and scikit-learn; each command prints one JSON line per case."""
