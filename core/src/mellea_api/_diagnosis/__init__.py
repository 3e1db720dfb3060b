"""What is wrong, and what to do about it, before the first prompt.

`readiness` says whether a backend can be used as the environment has it set up, in the `steps`
of one look at each; it loads plugins here, and may ask their servers.

`doctor` says what is installed and set, whatever is broken, and asks nobody: `findings` are what
it returns, `software` reads metadata, `trial` loads each plugin in a process of its own, and
`variables` looks at the environment.
"""

from __future__ import annotations
