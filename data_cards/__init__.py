"""Templates of the cards of data sets and models."""
