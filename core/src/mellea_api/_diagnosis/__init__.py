"""`check_readiness` and `diagnose`: whether backends can be used, and what is wrong if not.

`readiness` checks one backend after the other, step by step; `doctor` runs the same check on each
plugin in a fresh interpreter, and adds what is installed and the `variables` that are
set. Both return `findings`.
"""
