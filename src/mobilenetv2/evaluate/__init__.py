"""How good a classifier is: metrics, class matching, tables and pictures."""
