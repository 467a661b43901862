"""`qkv bench`: how quick the engine is on this machine, beside what else is installed.

A work (`works/`) has cases; a case has inputs, a request to qkv, peers (`peers/`) that answer the
same request, and what should be reached. The runner checks every contender against the oracle,
times those that are right in turn, and gives results, which are printed, drawn and written.
"""
