"""Table I: sources, targets, measurements, and the table made of them."""
