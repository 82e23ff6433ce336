"""A bundle's graphs, opened in one way wherever they run: in the service, and in jobs over files."""

from __future__ import annotations

from dataclasses import dataclass, field

from service.bundle import Bundle
from service.embedding.backends.base import BATCH_POINTS, batch_points_of
from service.embedding.backends.onnx import Cuda, OnnxBackend, OnnxGridBackend, Precision, Provider
from service.embedding.heads import Heads, open_heads
from service.settings import Settings


@dataclass(frozen=True)
class Device:
    """What graphs run on, and places in one batch where it is not the provider's own number."""

    provider: Provider = "auto"
    cuda: Cuda = field(default_factory=Cuda)
    max_batch_points: int | None = None

    @classmethod
    def of(cls, settings: Settings) -> Device:
        """This process's, as the settings say."""
        largest = settings.max_batch_points
        cuda = Cuda(settings.cuda_device, settings.cuda_options, largest or BATCH_POINTS["cuda"])
        return cls(settings.provider, cuda, largest)


class Graphs:
    """The encoder of a bundle, open, and on demand its others, all by the provider that the encoder has."""

    def __init__(self, bundle: Bundle, device: Device, precision: Precision) -> None:
        """`precision` is the encoder's; the others are float32 whatever it is. Raises what OnnxBackend raises."""
        self._bundle = bundle
        self._cuda = device.cuda
        self.encoder = OnnxBackend(bundle, device.provider, precision, device.cuda)
        self.batch_points = device.max_batch_points or batch_points_of(self.encoder)

    def grid_encoder(self) -> OnnxGridBackend | None:
        """The encoder over grids, where the bundle has one. Raises what OnnxGridBackend raises."""
        raster = self._bundle.card.raster
        return OnnxGridBackend(self._bundle, raster.file, self.encoder.provider, self._cuda) if raster else None

    def heads(self) -> Heads:
        """Every head. Raises what `open_heads` raises."""
        return open_heads(self._bundle, self.encoder.provider, self._cuda)
