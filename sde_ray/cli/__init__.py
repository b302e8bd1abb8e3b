"""The command `sde-ray`. Commands print; what they do lives in the modules they call.

Only typer and rich are imported here: `sde-ray --help` must answer at once, and completion asks on every press of tab.
"""

from sde_ray.cli.app import main

__all__ = ["main"]
