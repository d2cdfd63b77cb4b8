"""Bytes to array, once: decoding with limits, preprocessing as a record."""
