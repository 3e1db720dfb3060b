"""The seams of Mellea, from 0.3.0 to the newest: all that differs between versions is here.

Differences are detected by feature, not by version number. Nothing in this package imports
Mellea until a function is called, nor asyncio, which takes as long to import as the registry.

- `generate_from_context` is the method to override up to 0.3.2, `_generate_from_context` after;
  likewise `generate_from_raw` (a list) up to 0.6, `_generate_from_raw` (a tuple) after.
- A thunk keeps what belongs to its generation in attributes of its own up to 0.6, and in
  `_gen` and `_call` from 0.7.
- `astream` gives the text so far up to 0.4, and what is new from 0.5.
- `aact` waits for its answer up to 0.3, and only where told from 0.4.
- Up to 0.6 a backend's clients are never closed, and in all versions they are kept for two event
  loops only.
- A failed call ends a sampling loop up to 0.6, and later only where there is no other sample.
- 0.6 imports LiteLLM where that is installed, which then asks the network for prices.
- A session's context is an attribute, and from 0.8 a property that counts interactions.
"""

from mellea_api._sessions._mellea.clients import close, closed, keep_clients
from mellea_api._sessions._mellea.conversation import event_loop, send_message
from mellea_api._sessions._mellea.sampling import sampling_errors, watch_sampling
from mellea_api._sessions._mellea.seams import (
    Hook,
    abort,
    astream_accumulates,
    generation_task,
    lost_error,
    model_output,
    pending_hooks,
    raw_returns_usage,
    seams,
    tell,
    thunks,
    without_delay,
)
from mellea_api._sessions._mellea.sessions import (
    apply_context,
    finish_start,
    forget,
    is_simple,
    loggers,
    model_name,
    new_context,
    prepare_start,
    version,
)
from mellea_api._sessions._mellea.thunk import wire_thunk

__all__ = [
    "Hook",
    "abort",
    "apply_context",
    "astream_accumulates",
    "close",
    "closed",
    "event_loop",
    "finish_start",
    "forget",
    "generation_task",
    "is_simple",
    "keep_clients",
    "loggers",
    "lost_error",
    "model_name",
    "model_output",
    "new_context",
    "pending_hooks",
    "prepare_start",
    "raw_returns_usage",
    "sampling_errors",
    "seams",
    "send_message",
    "tell",
    "thunks",
    "version",
    "watch_sampling",
    "wire_thunk",
    "without_delay",
]
