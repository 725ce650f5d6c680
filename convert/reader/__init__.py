"""Checkpoint files from outside: read without torch, executing nothing."""
