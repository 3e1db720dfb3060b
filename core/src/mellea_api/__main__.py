"""`python -m mellea_api` is the command `mellea-api`."""

from __future__ import annotations

import sys

from mellea_api._cli import main

if __name__ == "__main__":
    sys.exit(main())
