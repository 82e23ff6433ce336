"""An option that names one thing or several: models, or heads."""

from __future__ import annotations

from collections.abc import Callable
from typing import LiteralString

from pydantic_core import PydanticCustomError


def list_of_names(error_type: LiteralString, message: LiteralString) -> Callable[[object], object]:
    """A validator that makes a list of one name, or of several with commas between as a query has them.

    What is neither text nor a list is refused with `message`.
    """

    def as_list(value: object) -> object:
        if isinstance(value, str):
            return value.split(",")
        if not isinstance(value, list):
            raise PydanticCustomError(error_type, message)
        return value

    return as_list
