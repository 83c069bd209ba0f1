"""Which encoder embeds: the one that a checkpoint's names describe, or one that the user gives."""

from nemd_toolkit.encoder_choice.awaiting import Encoder
from nemd_toolkit.encoder_choice.choosing import Chosen, choose_encoder, own_backbone
from nemd_toolkit.encoder_choice.given import GivenEncoder
from nemd_toolkit.encoder_choice.loading import LoadReport

__all__ = ["Chosen", "Encoder", "GivenEncoder", "LoadReport", "choose_encoder", "own_backbone"]
