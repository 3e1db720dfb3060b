"""What model options mean, and how they reach a provider.

`canonical` names the common options, their types, ranges and spellings; `limits` checks types and
ranges. `shared_rules` has rules and conversions that plugins share; `rules` applies one rule, and
`plan` those of one model, server and endpoint. `spelling` reads what a user wrote, and `pipeline`
takes it through merging, extensions, rules and policy, and reports what became of each option.
`listing` lists what a model takes.
"""
