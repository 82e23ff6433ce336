"""The types that the values of a config share."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from service.bundle.card import Frozen as Frozen

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
