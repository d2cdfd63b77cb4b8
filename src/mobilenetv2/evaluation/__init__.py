"""Measure a classifier: predictions, metrics, calibration, plots; report/ and parity/."""
