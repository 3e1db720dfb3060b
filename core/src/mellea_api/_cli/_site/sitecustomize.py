"""What Python runs first in a program of `mellea-api run`, and in every Python that it starts.

`run` puts this folder first in PYTHONPATH. That Python may be older than ours, or without this
library, so what is written here is plain, and a failed import is silent.
"""

import sys
from contextlib import suppress
from importlib import import_module
from os.path import dirname

if __name__ == "sitecustomize":
    sys.path[:] = [place for place in sys.path if place != dirname(__file__)]
    _this = sys.modules.pop(__name__)
    try:
        import_module(__name__)  # the environment's own, if it has one
    except ImportError as error:
        if error.name != __name__:
            raise
    finally:
        sys.modules.setdefault(__name__, _this)
        with suppress(ImportError, SyntaxError, AttributeError):
            import_module("mellea_api._cli.takeover").install()
