"""Everything emojax keeps on disk: weights, bundles, score tables, result blocks."""
