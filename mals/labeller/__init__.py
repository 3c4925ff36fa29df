"""Attribute labels from captions, by rules: no model, and the words that decided each label."""
