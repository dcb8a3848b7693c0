"""``python -m dlk.cli``: the same as ``dlk``."""

from dlk.cli import main

raise SystemExit(main())
