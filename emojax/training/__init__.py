"""Training of networks: the loop, checkpoints, optimiser, losses, and photographs as batches."""
