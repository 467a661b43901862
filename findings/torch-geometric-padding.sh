#!/usr/bin/env bash
# torch_geometric 2.8.1 with torch 2.13.0: what it pads groups with is read. `LSTMAggregation` and `GRUAggregation` run
# on over it to the length of the largest group and take the state there: with `SAGEConv(aggr="lstm")` the
# vector of a node depends on how many neighbours another node has, that of a graph on the batch it comes in.
# `SGFormerAttention` and `PerformerAttention` take a mask and hide values only: the keys of the padding stay in
# the denominator, and the number of places, padding and all, is in SGFormer's weights.
# Seen: three edges into another node change a node's vector by 0.07 (lstm; mean: 0); a second group changes that
# of the first by 0.09 (LSTM) and 0.38 (GRU); three places of padding change the real ones by 0.07 (SGFormer) and
# 0.002 (Performer).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/pip" install --quiet torch==2.13.0 torch_geometric==2.8.1
"$folder/venv/bin/python" - <<'PYTHON'
import torch
import torch_geometric
from torch_geometric.nn import GRUAggregation, LSTMAggregation, SAGEConv
from torch_geometric.nn.attention import PerformerAttention, SGFormerAttention

nodes = torch.randn(6, 8, generator=torch.Generator().manual_seed(1))
few = torch.tensor([[1, 2], [0, 0]])  # from 1 and 2 to 0
many = torch.cat([few, torch.tensor([[2, 3, 4], [5, 5, 5]])], 1)  # and from 2, 3, 4 to 5
group = torch.tensor([0, 0, 1, 1, 1, 1])


def difference(one, other):
    return (one - other).abs().max().item()


def by_other_edges(way):
    torch.manual_seed(0)
    layer = SAGEConv(8, 8, aggr=way)
    return difference(layer(nodes, few)[0], layer(nodes, many)[0])


def by_other_groups(kind):
    torch.manual_seed(0)
    layer = kind(8, 8)
    return difference(layer(nodes[:2], group[:2])[0], layer(nodes, group)[0])


def by_padding(kind):
    torch.manual_seed(0)
    layer = kind(8, heads=2).eval()
    x = nodes[None, :3]
    mask = torch.arange(6)[None] < 3
    padded = torch.cat([x, torch.zeros(1, 3, 8)], 1)
    return difference(layer(x, mask[:, :3]), layer(padded, mask)[:, :3])


lstm, mean = by_other_edges("lstm"), by_other_edges("mean")
groups = by_other_groups(LSTMAggregation), by_other_groups(GRUAggregation)
simple, performer = by_padding(SGFormerAttention), by_padding(PerformerAttention)
print(torch_geometric.__version__, torch.__version__, lstm, mean, groups, simple, performer)
assert mean < 1e-6
assert min(lstm, *groups, simple) > 0.05
assert performer > 1e-3
PYTHON
