"""The stream of shoppers on one machine: a made-up shop whose truth is known, or real clicks from a file.

demo        starts everything (`sightline demo --shop`)
stock       what is shown: goods, what was clicked before, who clicks now; made up, or from a file
training    models from what was clicked before, as a user would train them
street      what happens while the shop is open: visits, changes of the catalogue, clicks on what is offered
tally       whether what was promised was kept, from the topics: pure
report      the figures, in words
"""
