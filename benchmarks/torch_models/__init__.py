"""Our own compact PyTorch versions, with the published key names: the comparison partners."""
