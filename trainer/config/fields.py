"""The types that the values of a config share."""

from __future__ import annotations

from typing import Annotated, Any, get_args

from pydantic import BeforeValidator, Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from service.bundle import card

TRUTH = PydanticCustomError(
    "truth", "must not be true or false (yes, no, on and off are these too, unless they are quoted)"
)


class Frozen(card.Frozen):
    """A section. pydantic would take true for the number 1; it is a mistake here."""

    @model_validator(mode="before")
    @classmethod
    def _truth_is_no_number(cls, given: Any) -> Any:  # noqa: ANN401 - what pydantic hands a "before" validator
        values = given if isinstance(given, dict) else {}
        wrong = [
            InitErrorDetails(type=TRUTH, loc=(key,), input=values[key])
            for key, field in cls.model_fields.items()
            if _holds_bool(values.get(key)) and not _names_bool(field.annotation)
        ]
        if wrong:
            raise ValidationError.from_exception_data(cls.__name__, wrong)
        return given


def _holds_bool(given: object) -> bool:
    return any(isinstance(item, bool) for item in (given if isinstance(given, list) else [given]))


def _names_bool(annotation: object) -> bool:
    return annotation is bool or any(map(_names_bool, get_args(annotation)))


def without_a_kind(kind: str) -> BeforeValidator:
    """What a section means that does not say its kind."""

    def named(given: Any) -> Any:  # noqa: ANN401 - what pydantic hands a "before" validator
        return {"kind": kind} | given if isinstance(given, dict) else given

    return BeforeValidator(named)


Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
