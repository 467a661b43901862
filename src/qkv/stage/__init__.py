"""What scores, biases, masks and normalizers have in common, and dropout, which follows them."""
