"""Published sets of networks: what `emojax fetch NAME` downloads."""
