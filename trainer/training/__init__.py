"""Contrastive training over kept image features: `pretrain` is all of it."""

from trainer.training.pretraining import pretrain as pretrain
