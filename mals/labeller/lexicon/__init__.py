"""English words, by what they are in a sentence about a person."""
