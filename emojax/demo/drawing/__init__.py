"""The drawn faces: factors of identity, facial action units, and the layers of a picture."""
