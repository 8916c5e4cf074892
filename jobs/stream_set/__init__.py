"""Training sets from the stream: a range of a topic through the pipeline's own transforms into Parquet.

    plan        which offsets, and what counts as known when
    partition   read ─► decode ─► transforms ─► fold ─► label, one task a partition        (Ray Data)
    days        what partitions left, with form settled over all of them, one task a day   (Ray Data)
    manifest    what came out, and how to tell that it is still that

Everything is written beside the place and moved there in one rename at the end.
"""
