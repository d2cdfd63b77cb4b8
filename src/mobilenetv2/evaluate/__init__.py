"""How good a classifier is: predictions, metrics, calibration, plots; report/ and parity/."""
