"""Parametric faces: factors of identity, facial action units, renderer."""
