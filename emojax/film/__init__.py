"""Videos: faces followed over frames, edited as one person, and put back."""
