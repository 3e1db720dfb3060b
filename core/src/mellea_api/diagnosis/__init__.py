"""What is wrong, and what to do about it, before the first prompt.

`readiness` says whether a backend can be used as the environment has it set up, in the `steps`
of one look at each; it loads plugins here, and may ask their servers.
"""

from __future__ import annotations

__all__: list[str] = []
