"""The live backend: a service chain on the DPDK dataplane, and the programs around it."""
