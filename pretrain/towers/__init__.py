"""Towers only: no losses, no settings objects."""
