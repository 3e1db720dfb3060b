"""Which models there are: asked of all backends at once, kept on disk, and compared with.

`asking` decides whom to ask, `cache` keeps what was answered, in the files of a `folder`, and
`known` finds the names nearest to one that nobody knows. No file is looked at, and no library for
that imported, before a list, or a near name, is wanted.
"""

from __future__ import annotations
