"""Training: `python train/ppo.py` and the machinery behind its names."""
