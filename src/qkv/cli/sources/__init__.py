"""What `qkv look` opens: models that read a text or a picture while they are observed, a module for
each kind."""
