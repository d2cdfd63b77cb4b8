"""Folders, archives and built-in sets as splits of labelled photos; checks, augmentation, order."""
