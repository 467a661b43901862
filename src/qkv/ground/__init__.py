"""Questions about tensors and about what torch is doing, and files: the ground that everything
stands on."""
