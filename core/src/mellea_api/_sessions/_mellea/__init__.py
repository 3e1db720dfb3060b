"""What differs between versions of Mellea, from 0.3.0 to the newest, and what is patched in it.

Differences are detected by feature, not by version number. No module here imports Mellea before
a function is called.

- `generate_from_context` is the method to override up to 0.3.2, `_generate_from_context` after;
  likewise `generate_from_raw` (a list) up to 0.6, `_generate_from_raw` (a tuple) after.
- A thunk keeps what belongs to its generation in attributes of its own up to 0.6, and in
  `_gen` and `_call` from 0.7.
- `astream` gives the text so far up to 0.4, and what is new from 0.5.
- `aact` waits for its answer up to 0.3, and only if told to from 0.4.
- Up to 0.6 a backend's clients are never closed, and all versions keep them for two event
  loops only.
- A failed call ends a sampling loop up to 0.6, and later only if there is no other sample.
- 0.6 imports LiteLLM if it is installed, which then asks the network for prices.
- A session's context is an attribute, and from 0.8 a property that counts interactions.

What is changed in Mellea, and for how long:

- Two methods of its class `BaseSamplingStrategy` (see `sampling`), from the first session of this
  library until the backend of the last one is closed or gone. Other sessions do not notice.
- Of a session's own objects only: the class of the session and of its backend (see `..open`), the
  backend's cache of clients (see `clients`), and the methods of a thunk that is being generated
  (see `..call`).
"""
