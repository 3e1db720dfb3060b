"""What the core does with a session of Mellea, once a plugin has created it.

- `opening`: from what the plugin returned to what a program gets.
- `adoption`: the one place through which every generation of the session's backend goes.
- `generation`: one such generation: its options, deadline, errors and run id.
- `calls`: what is added to the session's own methods.
- `turns`: one call at a time in a conversation.
- `owned`: the sessions that a runtime keeps, and closes.
"""
