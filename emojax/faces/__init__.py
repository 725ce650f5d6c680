"""Photographs: files, alignment, detection, and pasting a face back."""
