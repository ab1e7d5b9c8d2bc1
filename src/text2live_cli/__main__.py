"""`text2live` and `python -m text2live_cli`."""

from __future__ import annotations

from .cli.commands import main

if __name__ == "__main__":
    main()
