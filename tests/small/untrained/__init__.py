"""Random models with the shapes of the embedded ones, for what needs any model at all: `build(folder)` and VERSION a file."""
