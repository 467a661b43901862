"""The machine: tensors in canonical layout, cut into blocks, and a map over these that is closed
under differentiation. It knows nothing of attention."""
