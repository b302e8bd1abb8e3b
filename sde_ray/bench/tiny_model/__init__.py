"""How the embedded base model was made: `python -m sde_ray.bench.tiny_model.pretrain`."""
