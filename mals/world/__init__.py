"""The pedestrian world and the models trained on it: what the presets call embedded."""
