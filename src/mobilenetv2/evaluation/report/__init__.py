"""The report: one HTML file that needs no other file, no network and no script."""
