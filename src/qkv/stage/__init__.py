"""What every stage is: scores, biases, masks and normalizers, and dropout, which follows them."""
