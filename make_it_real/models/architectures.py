"""f by the name of its architecture.

``weights/pretrained.py`` has the same classes with the methods of the Hugging Face hub.
"""

from make_it_real.models.dcgan import DCGANIGN
from make_it_real.models.ign import IGN, IGNConfig
from make_it_real.models.projector import Projector
from make_it_real.models.unet import UNet

NETWORKS: dict[str, type[IGN]] = {"projector": Projector, "dcgan": DCGANIGN, "unet": UNet}


def build(config: IGNConfig) -> IGN:
    """Build an untrained f with the architecture, sizes and source that its config names.

    Raises ValueError where these do not make a network.
    """
    return NETWORKS[config.architecture](config)
