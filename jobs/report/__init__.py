"""Reports of evaluations for people: an HTML page, a model card, tables for the terminal and the README.

All of them are made from the JSON values of `jobs.evaluate`; nothing in them is typed by hand.
"""
