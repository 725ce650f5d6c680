"""README, documentation and packaging: what they say is run."""
