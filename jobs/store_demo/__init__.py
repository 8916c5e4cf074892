"""The stream of cameras on one machine: a made-up store whose truth is known, or clips of your own.

demo        starts everything (`sightline demo --store`)
scene       the made-up store: who is where when, drawn, and told as by smart cameras; its truth
cameras     what the camera processes are given: a book, and a pipe or a clip each; what they say
pipelines   sightings, counts and alerts in one process, on one Ray
tally       what was answered, counted from the topics: pure
report      the figures, in words
"""
