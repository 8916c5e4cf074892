"""What executes a pipeline: reading, answering in partition order, committing."""
