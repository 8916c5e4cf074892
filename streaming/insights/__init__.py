"""Scored match frames → insights: changes, key moments and commentary lines, whose wording is in `templates`."""
