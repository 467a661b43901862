"""Tasks, and the one trainer that knows none of them.

A task (see `qkv.tasks.task.Task`) supplies model, batches, loss and validation;
`qkv.tasks.trainer.train` does the rest.
"""
