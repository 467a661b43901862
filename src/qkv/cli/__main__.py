"""`python -m qkv.cli` is the `qkv` command."""

from qkv.cli import main

main()
