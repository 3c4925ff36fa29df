"""Templates of the cards that packed data sets carry."""
