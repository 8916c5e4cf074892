"""The loop of training, told as a story: a patch makes the model wrong, and a better one takes its place by itself.

demo      starts everything (`sightline demo --loop`)
watch     looks at answers, status, schedule and store, as anybody may
story     which steps have come, and how calibrated answers are: pure
report    what it came to
"""
