"""The validity gate: may these bytes become a model? Works on paths and values, without Django."""

from registry.inspect.runner import inspect_file, make_thumbnail
from registry.inspect.verdict import Verdict

__all__ = ["Verdict", "inspect_file", "make_thumbnail"]
