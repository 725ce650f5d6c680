"""Reader of untrusted checkpoint files, without torch; nothing in a file is executed."""
