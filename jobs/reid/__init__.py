"""Person re-identification: crops to learn from, the training loop, and its evaluation on people never seen."""
