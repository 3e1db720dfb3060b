"""What `docs/generate.py` writes into the pages, made of the code.

`pages` names the generated parts and puts them in place. `signatures` makes them of objects and
their docstrings, `options` of the backends' rules, `reference` of the errors, the commands and
the schemas. `rules` says in words what a rule does, `backends` finds the rules, and `markdown`
draws tables.
"""
