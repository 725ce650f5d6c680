"""Mutated files for every loader: no exception but `UserError`, no execution, no hang, no glut."""
