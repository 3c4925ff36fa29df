"""Small models, runs and servers for tests."""
