"""The code tables of the 8-bit optimizer, made as bitsandbytes' create_dynamic_map does."""
import torch

def dynamic_map(signed):
    data = []
    for i in range(7):
        edges = torch.linspace(0.1, 1, 2**(i + (0 if signed else 1)) + 1)
        means = (edges[:-1] + edges[1:]) / 2
        data += ((10.0**(i - 6)) * means).tolist() + ([(-(10.0**(i - 6)) * m) for m in means.tolist()] if signed else [])
    values = torch.tensor(sorted(data + [0.0, 1.0]), dtype=torch.float32)
    return values, torch.cat([(values[:-1] + values[1:]) / 2, torch.tensor([float('inf')])])

def maps():
    return torch.cat(dynamic_map(True) + dynamic_map(False))
