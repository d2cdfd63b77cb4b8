"""Canonical weights and the model folder."""
