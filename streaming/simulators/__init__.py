"""Live matches and a store, made up on the spot: for the demo, for tests, and to train the weights that ship with the
project."""
