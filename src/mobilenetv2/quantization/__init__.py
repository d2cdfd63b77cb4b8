"""Quantization of a network to 8-bit integers, measured against the float network."""
