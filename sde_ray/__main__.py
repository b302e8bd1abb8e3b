"""`python -m sde_ray` is the command `sde-ray`."""

from sde_ray.cli import main

main()
