"""Sessions of Mellea: how they are opened, and what the core does in each of their calls.

- `open`: from a request to the session that a program gets.
- `adoption`: what the core keeps with a session's backend.
- `call`: one generation: its options, deadline, errors and run id.
- `turns`: one call at a time in a conversation.
- `streaming`: an answer piece by piece.
- `text_backend`: the base class for a model of your own.
- `_mellea`: everything that differs between versions of Mellea.
"""
