"""The methods of text-based person search: data, towers, losses, training, evaluation."""
