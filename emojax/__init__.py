"""Facial emotion editing and transfer with pretrained networks, in JAX and Flax."""

__version__ = "0.1.0"
