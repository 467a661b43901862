"""Tasks, and the one trainer that knows none of them.

A task (see `qkv.tasks.trainer.task.Task`) supplies model, batches, loss and validation;
`qkv.tasks.trainer.run.train` does the rest.
"""
