"""Evaluation of classifiers: predictions, metrics, calibration, plots, reports, parity."""
