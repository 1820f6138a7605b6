"""Gymnasium environments. Importing this package registers `flexnfv/ServiceChain-v0`."""

import gymnasium

ID = "flexnfv/ServiceChain-v0"

if ID not in gymnasium.registry:
    gymnasium.register(
        ID,
        entry_point="flexnfv.envs.service_chain:ServiceChainEnv",
        vector_entry_point="flexnfv.envs.vector:ServiceChainVectorEnv",
    )
