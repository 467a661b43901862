"""Questions about tensors and about what torch is doing: the ground that everything stands on."""
