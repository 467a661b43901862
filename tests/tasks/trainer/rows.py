"""A task of sequences that several processes may share: each row is to become what all rows of its
sequence sum up to, and the pooled rows as well."""

import sys
from pathlib import Path

import torch
from torch import Tensor, nn
from toy import Toy

from qkv.nn import AttentionPooling, SelfAttentionEncoder
from qkv.tasks.trainer.processes import Processes
from qkv.tasks.trainer.run import train
from qkv.tasks.trainer.settings import Settings
from qkv.tasks.trainer.task import Loss


class Reader(nn.Module):
    def __init__(self, group) -> None:
        super().__init__()
        self.encoder = SelfAttentionEncoder(2, 4, 2, group=group, linear_bias=False)
        self.pooling = AttentionPooling(4, group=group, linear_bias=False)
        self.row, self.whole = nn.Linear(4, 1), nn.Linear(4, 1)
        self.unused = nn.Linear(4, 1)

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """One number for each of this process's rows, and one for the whole sequence."""
        states = self.encoder(rows)
        return self.row(states)[..., 0], self.pooling(states)[:, 0]


class Rows(Toy):
    """Without chance in the model, in float64. `broken` is the batch whose loss is not a number in
    the last process alone."""

    def __init__(self, group=None, broken=None) -> None:
        super().__init__(broken=broken)
        self.group = group
        self.first = group is None or torch.distributed.get_rank(group) == 0

    def model(self):
        return Reader(self.group).double()

    def batches(self, epoch):
        generator = torch.Generator().manual_seed(epoch)
        lengths = (5, 3, 7, 1, 4)  # there may be processes without a row
        return [torch.randn(3, n, 2, generator=generator, dtype=torch.float64) for n in lengths]

    def loss(self, model, batch):
        self.calls += 1
        rows, pooled = model(model.encoder.sharing.own(batch, 1))
        target = batch.sum((1, 2)) / batch.shape[1]
        total = (rows - target.unsqueeze(1)).square().sum()
        if self.first:  # the others have no gradient of the last map
            total = total + (model.whole(pooled)[:, 0] - target).square().sum()
        else:
            total = total + 0 * pooled.sum()
        last = self.group is None or not self.first
        return Loss(
            total * torch.nan if self.calls == self.broken and last else total, rows.numel()
        )

    def validate(self, model):
        rows = torch.linspace(-1, 1, 24, dtype=torch.float64).reshape(3, 4, 2)
        pooled = model(model.encoder.sharing.own(rows, 1))[1]
        error = (model.whole(pooled)[:, 0] - rows.sum((1, 2))).square().mean().item()
        return {"accuracy": -error}


SETTINGS = {"epochs": 3, "warmup": 2, "log_every": 1, "average": 0.5, "accumulate": 2, "cpu": True}

if __name__ == "__main__":  # one of several processes
    torch.set_num_threads(1)
    kind, folder, broken = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    chosen = Settings(**SETTINGS, share="batches" if kind == "unsaid" else "sequences")
    task = Rows(Processes(cpu=True).group, broken or None)
    train(task, folder, chosen, resume=kind == "resumed")
