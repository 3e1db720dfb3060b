"""What model options mean, and how they reach a provider.

`canonical` names the common options, their types, ranges and spellings; `checks` checks types,
and `limits` ranges. `shared_rules` has rules and conversions that plugins share; `rules` applies
one rule, and `plan` those of one model, server and endpoint. `pipeline` takes a call's options
through spelling, merging, patches, checks and rendering, and reports what became of each.
"""
