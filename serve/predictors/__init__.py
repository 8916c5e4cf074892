"""Predictors: plain classes that load a model and answer arrays with arrays. No Ray here."""
