"""The trainings of the embedded models, a file each; `python -m mals.world.training` runs them."""
