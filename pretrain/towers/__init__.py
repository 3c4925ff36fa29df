"""Image and text encoders: modules without losses and without settings."""
