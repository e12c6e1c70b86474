"""Finding people: network, training scenes, targets, loop, evaluation and checkpoints of the person detector."""
