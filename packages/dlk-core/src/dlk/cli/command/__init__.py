"""One module per command: ``arguments(parser)`` declares options, ``run(args, terminal)`` runs it.

What a module imports at its top is loaded for its ``--help``; the rest is imported inside ``run``.
"""
