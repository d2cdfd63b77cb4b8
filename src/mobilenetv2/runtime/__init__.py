"""Prediction without a training framework."""
