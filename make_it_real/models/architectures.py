"""f by the name of its architecture; ``pretrained.py`` has the same with the hub's methods."""

from make_it_real.models.dcgan import DCGANIGN
from make_it_real.models.ign import IGN, IGNConfig
from make_it_real.models.projector import Projector

NETWORKS: dict[str, type[IGN]] = {"projector": Projector, "dcgan": DCGANIGN}


def build(config: IGNConfig) -> IGN:
    """An untrained f of the architecture, sizes and source that its config names.

    Raises ValueError where they make no network.
    """
    return NETWORKS[config.architecture](config)
