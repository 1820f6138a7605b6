"""Deployment: a policy decides for a chain, interval by interval, until it is stopped.

`from flexnfv.deploy import deploy` is the whole of it for most uses.
"""

from flexnfv.deploy.deployment import Deployment, deploy

__all__ = ["Deployment", "deploy"]
