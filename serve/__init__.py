"""A thin Ray Serve shell around the models, and the gateway that people look at."""
