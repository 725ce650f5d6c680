"""Published checkpoint files become emojax bundles."""
