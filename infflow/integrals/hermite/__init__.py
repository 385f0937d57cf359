"""Hermite series of smooth activations: one-dimensional work for a neuron, a power series for a
pair.

| file | what it holds | who calls it |
|---|---|---|
| `series.py` | expansions of neurons, their rules and bounds | `registry.py`, `choice.py` |
| `kernels.py` | jitted sums | `series.py` |
"""
