"""Which releases of transformers this works with."""

from __future__ import annotations

import re

WANTED = ">=5.24,<6"
_FROM, _BELOW = (5, 24), (6, 0)


def check() -> None:
    """Raises ImportError where transformers is missing, or of another release."""
    command = f"pip install 'transformers{WANTED}'"
    try:
        from transformers import __version__ as version
    except ModuleNotFoundError as error:
        if error.name != "transformers":
            raise
        raise ImportError(f"qkv.integrations.transformers needs transformers: {command}") from error
    found = re.match(r"(\d+)\.(\d+)", version)
    if found is None or not _FROM <= (int(found[1]), int(found[2])) < _BELOW:
        raise ImportError(
            f"qkv.integrations.transformers needs transformers{WANTED}, where masks are "
            f"descriptions as it reads them; {version} is installed: {command}"
        )
