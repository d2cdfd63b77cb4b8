"""The article's two implementations, with its names of functions: ``torch`` and ``keras``.

Their docstrings list how they differ from the paper. Importing this package loads no framework.
"""

#               t    c   n  s
TABLE = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)  # fmt: skip
"""Table 2 of the paper, which both implementations follow."""
