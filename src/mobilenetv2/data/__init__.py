"""Labelled photos in folders, archives and built-in sets: splits, checks, augmentation, batches."""
