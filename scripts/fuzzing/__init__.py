"""What is fuzzed beside the engine's own requests (`python -m qkv.testing.fuzz`)."""

from .arrays import Arrays
from .captures import Captures
from .dropin import DropIn
from .flex import Flex
from .models import Models
from .pictures import Pictures
from .shards import Shards
from .tables import Tables
from .target import Target

TARGETS: dict[str, type[Target]] = {
    target.name: target
    for target in (Flex, DropIn, Captures, Models, Tables, Pictures, Arrays, Shards)
}
