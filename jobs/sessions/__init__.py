"""Sessions of shoppers: clicks to learn from, their split in time, training, and evaluation on the last day."""
