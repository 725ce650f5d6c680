"""What the networks are made of: convolutions, layers and resizing."""
