"""What a person or a cluster runs: the command line, training, evaluation, pipelines, the demo."""
