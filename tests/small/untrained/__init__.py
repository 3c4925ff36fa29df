"""Untrained models with the architectures of the embedded ones, for tests that need any model: `build(folder)` and VERSION in each file."""
