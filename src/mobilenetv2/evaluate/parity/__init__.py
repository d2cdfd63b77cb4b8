"""The same weights in every edition, compared."""
