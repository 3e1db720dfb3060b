"""What holds on every backend that is installed, whoever wrote it: the suite that plugin authors have, for each."""

from __future__ import annotations

import mellea_api
from mellea_api.testing import BackendContract

for _name in mellea_api.shared_registry().names():
    _title = f"Test{_name.title().replace('-', '')}"
    globals()[_title] = type(_title, (BackendContract,), {"backend": _name, "__module__": __name__})
