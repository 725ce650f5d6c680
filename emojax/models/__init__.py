"""One network a file; models know arrays only."""
