"""Files from other people's servers: resumed, checked, several at a time."""
