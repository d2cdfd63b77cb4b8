"""Harness of the studies: it runs their cases, keeps the results, and writes their pages."""
