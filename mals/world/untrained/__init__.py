"""Random stand-ins with the shapes of the embedded models, for where no trained weights ship: one file a part, `build(folder)` and VERSION."""
