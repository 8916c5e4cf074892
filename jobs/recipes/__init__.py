"""Recipes of training: one file each, with its command, expected time and figures."""
