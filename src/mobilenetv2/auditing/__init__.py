"""The audit of a folder of photos. A new check goes into the table of ``audit/issues.py``."""
