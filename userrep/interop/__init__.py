"""Interop: state dicts of published code become encoders of this package, no backbone copied."""

from userrep.interop.convert import CONVERTERS, check_kind, convert, from_state_dict
from userrep.interop.source import Converted

__all__ = ["CONVERTERS", "Converted", "check_kind", "convert", "from_state_dict"]
