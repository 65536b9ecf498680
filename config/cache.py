"""How values lie in the cache."""

from __future__ import annotations

import json
from typing import Any


class JsonSerializer:
    """JSON instead of Django's pickle: whoever can write to Redis must not run code here."""

    def dumps(self, value: Any) -> bytes:
        return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()

    def loads(self, data: bytes) -> Any:
        return json.loads(data)
