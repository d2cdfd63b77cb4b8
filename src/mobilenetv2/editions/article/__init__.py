"""The two versions that the article explains, name for name: ``torch`` and ``keras``.

They are not the paper's network, and each says in what. Importing this loads no framework.
"""
