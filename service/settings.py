"""Settings: the SATCLE_* environment, read once into one frozen object."""

from __future__ import annotations

import os
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from service.bundles import DEFAULT
from service.errors import InvalidSetting


class Settings(BaseSettings):
    """Every knob of the service, as shown by `/info`. Lists are written with commas."""

    model_config = SettingsConfigDict(env_prefix="SATCLE_", frozen=True, extra="forbid")

    bundles: Annotated[tuple[str, ...], NoDecode] = Field(default=(DEFAULT,), min_length=1)
    """Folders of bundles, or names of shipped ones; the first is the default model."""
    provider: Literal["auto", "cpu", "cuda"] = "auto"
    snap: Literal["cell", "exact"] = "cell"
    """`cell` moves each place to the centre of its H3 cell; `exact` never does, and never caches."""
    max_batch_points: int = Field(default=512, ge=1)
    max_queue_points: int = Field(default=262_144, ge=1)
    max_points_per_request: int = Field(default=131_072, ge=1)
    max_body_bytes: int = Field(default=33_554_432, ge=1)
    deadline_ms: int = Field(default=30_000, ge=1)
    worker_threads: int = Field(default_factory=lambda: os.cpu_count() or 1, ge=1)
    cache_memory_mb: int = Field(default=64, ge=0)
    """Memory for cached rows; 0 turns the cache off."""
    log_format: Literal["json", "console"] = "console"

    @field_validator("bundles", mode="before")
    @classmethod
    def _split_on_commas(cls, value: Any) -> Any:  # noqa: ANN401 - what pydantic hands a "before" validator
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _a_request_fits_the_queue(self) -> Settings:
        if self.max_points_per_request > self.max_queue_points:
            raise ValueError(
                f"SATCLE_MAX_POINTS_PER_REQUEST {self.max_points_per_request} is more than "
                f"SATCLE_MAX_QUEUE_POINTS {self.max_queue_points}: such a request could never be queued"
            )
        return self


def read_settings(**overrides: Any) -> Settings:  # noqa: ANN401 - any setting, checked here
    """The environment's settings, `overrides` first. Raises InvalidSetting, naming the variable and the fix."""
    try:
        return Settings(**overrides)
    except ValidationError as error:
        first = error.errors()[0]
        name = f"SATCLE_{first['loc'][0]}".upper() if first["loc"] else "the settings"
        given = f" {first['input']!r}" if first["loc"] else ""
        raise InvalidSetting(f"{name}{given}: {first['msg'].removeprefix('Value error, ')}") from None
