"""Others who answer the same requests: one file for each package or kernel."""
