"""The two versions that the article explains, name for name: ``torch`` and ``keras``.

They are not the paper's network, and each says in what. Importing this loads no framework.
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
"""The paper's Table 2, which both follow."""
