"""Codes of faces: inversion, directions, editing, and expression transfer."""
