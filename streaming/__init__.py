"""Kafka in, Kafka out, polars between. Knows neither torch nor Ray Serve."""
