"""Pages to look at a run, a packed set or a folder of images, in a browser: `mals look`."""
