"""Settings: the SATCLE_* environment, read once into one frozen object."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_serializer, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from service.bundles import DEFAULT
from service.errors import InvalidSetting

SET_ELSEWHERE = {"device_id": "SATCLE_CUDA_DEVICES", "use_tf32": "SATCLE_PRECISION"}
"""Options of the CUDA provider that follow from settings."""


class Settings(BaseSettings):
    """Every knob of the service, as shown by `/info`. Lists are written with commas."""

    model_config = SettingsConfigDict(env_prefix="SATCLE_", env_ignore_empty=True, frozen=True, extra="forbid")

    bundles: Annotated[tuple[str, ...], NoDecode] = Field(default=(DEFAULT,), min_length=1)
    """Bundles: their folders, folders that hold them, or names of shipped ones; the first is the default model."""
    default_model: str | None = None
    """The model of requests that name none; None: the first."""
    model_memory_mb: int | None = Field(default=None, ge=1)
    """Memory for the models of each process, their cached rows aside: beyond it the least recently used one that is
    idle is unloaded until it is asked for again. A model is held to take five times the bytes of its graphs, as was
    measured. None: every model stays loaded."""
    provider: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["float32", "tf32", "float16"] = "float32"
    """Of the encoder: what the cards of the bundles declare. Heads and grids are float32 whatever this is."""
    cuda_devices: Annotated[tuple[Annotated[int, Field(ge=0)], ...], NoDecode] = ()
    """The GPU of each worker process in turn, over and over; none: 0, 1, 2 and so on, one each."""
    cuda_options: Annotated[dict[str, str], NoDecode] = Field(default={})
    """Options of ONNX Runtime's CUDA provider, `name=value`; `enable_cuda_graph=1` records each batch size as one."""
    snap: Literal["cell", "exact"] = "cell"
    """`cell` moves each place to the centre of its H3 cell; `exact` never does, and never caches."""
    max_batch_points: int | None = Field(default=None, ge=1)
    """Places in one inference; None: 512 on a CPU, 32768 on a GPU."""
    max_queue_points: int = Field(default=262_144, ge=1)
    """Places that one model may hold at once, waiting or being answered."""
    max_points_per_request: int = Field(default=131_072, ge=1)
    max_map_points: int = Field(default=16_777_216, ge=1)
    """Pixels or cells of one map."""
    max_compare_points: int = Field(default=2048, ge=3)
    """Places at which models are compared: to find each one's nearest neighbours takes the square of their number."""
    max_requests: int = Field(default=1024, ge=1)
    """Requests that one worker process has in flight; more are turned away unread."""
    max_body_bytes: int = Field(default=33_554_432, ge=1)
    deadline_ms: int = Field(default=30_000, ge=1)
    worker_threads: int = Field(default_factory=lambda: os.cpu_count() or 1, ge=1)
    cache_memory_mb: int = Field(default=64, ge=0)
    """Memory for cached rows of each process, shared by its models; 0: none."""
    redis_url: str | None = Field(default=None, pattern=r"^(redis|rediss|unix|redis\+cluster|rediss\+cluster)://.")
    """A Redis that keeps rows for every process; None: none."""
    redis_timeout_ms: int = Field(default=50, ge=1, le=1000)
    """How long one command may take before its rows count as missed."""
    redis_retry_s: float = Field(default=5, gt=0, le=3600, allow_inf_nan=False)
    """How long Redis is left alone after it failed several times in a row."""
    cache_ttl_s: int | None = Field(default=None, ge=1)
    """Rows in Redis that are older are not read any more; None: a row is good as long as its bundle."""
    log_format: Literal["json", "console"] = "console"
    log_coordinates: bool = False
    """Whether the line of a request names its first places; else no log holds a coordinate."""
    api_keys_file: Path | None = None
    """A key a line; blank lines and lines that begin with # are passed over. None: no key is needed."""
    cors_origins: Annotated[tuple[Annotated[str, Field(pattern=r"^(\*|https?://[^/]+)$")], ...], NoDecode] = ()
    """Origins whose pages may call the service, or `*` for all."""
    basemap_url: str | None = Field(default=None, pattern=r"^(https?://[^/{}\s'\";,]+)?/\S*$")
    """Tiles drawn under the layers of the map page, `https://host/{z}/{x}/{y}.png`; None: none."""
    basemap_attribution: str | None = None
    """Whom the map page credits for the basemap, as plain text."""
    drain_seconds: float = Field(default=0, ge=0, le=3600, allow_inf_nan=False)
    """How long to go on serving, unready, after the first signal to stop, so that callers can be led elsewhere."""
    otel_exporter_otlp_endpoint: str | None = Field(
        default_factory=lambda: os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or None, pattern="^https?://."
    )
    """Where traces go, as the standard variable of the same name says; None: there are none."""

    @property
    def cuda_device(self) -> int:
        """This process's GPU."""
        return self.cuda_devices[0] if self.cuda_devices else 0

    def of_worker(self, number: int) -> Settings:
        """These settings as they are in the worker process of that number, from 0: the GPU is its own."""
        if self.provider == "cpu":
            return self
        devices = self.cuda_devices
        device = devices[number % len(devices)] if devices else number
        return self.model_copy(update={"cuda_devices": (device,)})

    @field_validator("bundles", "cors_origins", "cuda_devices", mode="before")
    @classmethod
    def _split_on_commas(cls, value: Any) -> Any:  # noqa: ANN401 - what pydantic hands a "before" validator
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("cuda_options", mode="before")
    @classmethod
    def _split_into_options(cls, value: Any) -> Any:  # noqa: ANN401
        if not isinstance(value, str):
            return value
        parts = [part.strip().partition("=") for part in value.split(",") if part.strip()]
        if wrong := [name for name, sign, _ in parts if not (name and sign)]:
            raise ValueError(f"{wrong[0]!r} is no option: write them like gpu_mem_limit=8589934592,enable_cuda_graph=1")
        return {name.strip(): value.strip() for name, _, value in parts}

    @field_validator("cuda_options")
    @classmethod
    def _has_no_setting_of_its_own(cls, options: dict[str, str]) -> dict[str, str]:
        for name, setting in SET_ELSEWHERE.items():
            if name in options:
                raise ValueError(f"{name} is set by {setting}")
        return options

    @field_validator("basemap_url")
    @classmethod
    def _names_the_tile(cls, url: str | None) -> str | None:
        if url and (missing := [part for part in ("{z}", "{x}", "{y}") if part not in url]):
            raise ValueError(f"lacks {' and '.join(missing)}: write it like https://host/{{z}}/{{x}}/{{y}}.png")
        return url

    @field_serializer("redis_url", "otel_exporter_otlp_endpoint")
    def _without_secrets(self, url: str | None) -> str | None:
        """Without what goes before the host, and without the query, where redis-py takes a password too."""
        return url and re.sub(r"(?<=://).*@", "***@", url).partition("?")[0]

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
        given = " " + re.sub(r"(?<=').*@", "***@", repr(first["input"])) if first["loc"] else ""  # no credentials
        raise InvalidSetting(f"{name}{given}: {first['msg'].removeprefix('Value error, ')}") from None
