"""Training: labelled photos become a model folder."""
