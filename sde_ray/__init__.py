"""sde_ray: find out how to write fine-tuning samples, with evidence.

The core (axes, designs, rendering, metrics, plans) imports nothing heavy; torch, ray, deepspeed and mlflow are
imported where they are used.
"""

__version__ = "0.1.0"
