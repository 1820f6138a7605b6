"""FlexNFV: a research platform for scaling policies of NFV service chains."""

__version__ = "0.1.0"
