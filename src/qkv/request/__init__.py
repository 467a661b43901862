"""What is asked: a description, its canonical form, and one strip of it."""
