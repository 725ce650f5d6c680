"""Facial emotion editing and transfer with pretrained networks, in JAX and Flax."""
