"""The HTML report of an evaluation: one file that needs no other file and no network."""
