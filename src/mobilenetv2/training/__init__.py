"""Training of a classifier on labelled photos."""
