"""`python -m mals.world.training` trains the embedded models, see mals/world/training/train.py."""

from mals.world.training.train import main

if __name__ == "__main__":
    main()
