"""Answers for many photos in files that a killed run can go on with, and photos in folders."""
