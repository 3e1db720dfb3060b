#!/usr/bin/env python3
"""Write what the pages take from the code: `python docs/generate.py`, or `--check` to only look.

Between `<!-- generated: NAME -->` and `<!-- generated: end -->` stands what `generator.pages` has
under that name; a `python signature` block holds the signature of the object that it begins with.
A test fails where a page is not what this writes.

No plugin needs to be installed, let alone its SDK: what describes a backend imports no SDK, and
is taken from this tree.
"""

from __future__ import annotations

import argparse
import sys

from generator.backends import ROOT
from generator.pages import pages, render


def main() -> int:
    """Write the pages, or say which are out of date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 if due")
    check = parser.parse_args().check
    stale = [page for page in pages() if render(page.read_text("utf-8")) != page.read_text("utf-8")]
    for page in stale:
        print(f"{'out of date' if check else 'written'}: {page.relative_to(ROOT)}")
        if not check:
            page.write_text(render(page.read_text("utf-8")), "utf-8")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
