"""Published location encoders, read without trust and by what a file holds, whatever its name."""

from __future__ import annotations

from pathlib import Path

from trainer.errors import WeightsError
from trainer.importers.encoder import Choices as Choices
from trainer.importers.encoder import ImportedEncoder as ImportedEncoder
from trainer.importers.geoclip import PACKAGE, installed_weights, read_geoclip
from trainer.importers.onnx_encoder import read_onnx_encoder
from trainer.importers.satclip import read_satclip
from trainer.importers.untrusted import Content, kind_of, read_untrusted

MIND = "first.linear.weight"
"""A weight that tells MIND's state dicts, which are published as ONNX too."""


def read_location_encoder(path: Path, choices: Choices | None = None) -> ImportedEncoder:
    """The location encoder in the file `path`, or in the installed package where `path` is `geoclip`.

    Raises WeightsError where it cannot be read safely, is damaged, or is none that is known.
    """
    choices = choices or Choices()
    if path == Path(PACKAGE) and not path.exists():
        path = installed_weights()
    if kind_of(path) == "onnx":
        return read_onnx_encoder(path, choices)
    if choices.order or choices.dimensions or choices.normalize or choices.output:
        raise WeightsError(f"{path} is no ONNX file; --order, --dimensions, --normalize and --output are for those")
    content = read_untrusted(path)
    if encoder := read_satclip(path, content, choices):
        return encoder
    if choices.variant or choices.m0_scale:
        raise WeightsError(f"{path} is not of SatCLIP's layout; --variant and --m0-scale are for spherical harmonics")
    if encoder := read_geoclip(path, content):
        return encoder
    raise WeightsError(_not_recognised(path, content))


def _not_recognised(path: Path, content: Content) -> str:
    if MIND in content or MIND in content.get("state_dict", {}):
        return f"{path} holds MIND's weights; import its .onnx, with --order latlon and the --dimensions it states"
    names = ", ".join(list(content)[:3]) or "nothing"
    return (
        f"{path} holds no location encoder that satcle knows (it holds {names}, …); export it to ONNX and import that"
    )
