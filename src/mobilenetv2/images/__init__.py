"""Decoding of image files with limits, preprocessing, and images for display."""
