"""Networks from the features of a positional encoding to an embedding, a family a file."""

from __future__ import annotations

from torch import nn

from trainer.config.location import CapsulesConfig, FCNetConfig, MLPConfig, NetworkConfig, SirenConfig
from trainer.models.networks.fcnet import FCNet
from trainer.models.networks.mlp import MLP, Capsules
from trainer.models.networks.siren import Siren


def build_network(asked: NetworkConfig, in_dim: int, out_dim: int, *, groups: int = 1) -> nn.Module:
    """The network that a config asks for; `groups` is how many parts of the features capsules share out."""
    if isinstance(asked, SirenConfig):
        return Siren(in_dim, asked.hidden_dim, asked.hidden_layers, out_dim, w0_initial=asked.w0_initial, w0=asked.w0)
    if isinstance(asked, MLPConfig):
        return MLP(in_dim, asked.hidden_dim, asked.hidden_layers, out_dim)
    if isinstance(asked, FCNetConfig):
        return FCNet(in_dim, asked.hidden_dim, out_dim, residual_layers=asked.residual_layers, dropout=asked.dropout)
    if isinstance(asked, CapsulesConfig):
        return Capsules(in_dim, groups, asked.hidden_dim, asked.hidden_layers, out_dim)
    return nn.Linear(in_dim, out_dim)
