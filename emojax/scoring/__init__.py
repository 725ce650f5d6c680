"""Emotion classification, and generated faces scored in compiled batches."""
