"""How good results are: Fréchet and kernel distances, emotion scores."""
