"""The trainer, which knows no task: see `qkv.tasks.trainer.task.Task` for what it asks of one, and
`qkv.tasks.trainer.run.train` for how it is called."""
