"""`sde-ray bench`: measurements of searches, intervals and warm starts."""
