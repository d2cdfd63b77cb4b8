"""Compare the same weights in every edition, and under other numerics."""
