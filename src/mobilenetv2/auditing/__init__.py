"""Audit of a folder of photos; a new check is a row of the table in ``auditing/issues.py``."""
