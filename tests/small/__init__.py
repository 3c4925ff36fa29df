"""Small models and runs that tests are made on."""
