"""Random stand-ins with the shapes of the embedded models, where no trained weights ship: `build(folder)` and VERSION a file."""
