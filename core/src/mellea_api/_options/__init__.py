"""What model options mean, and how they reach a provider.

`canonical` names the common options, their types, ranges and spellings; `checks` holds the
types; `convert` the named conversions; `mellea` and `text` rules that plugins share; `plan`
compiles a backend's rules for one model, server and endpoint; `pipeline` takes a call's options
through spelling, merging, patching, checking and rendering, and says what became of each.
"""
