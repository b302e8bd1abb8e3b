"""The embedded base model and the script that pretrains it."""
