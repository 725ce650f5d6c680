"""How the demo networks are trained: recipe, loop, and one file per kind of network."""
