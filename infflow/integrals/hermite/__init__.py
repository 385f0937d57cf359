"""Hermite series of smooth activations: one-dimensional work for a neuron, a power series for a
pair.

| file | what it holds | who calls it |
|---|---|---|
| `evaluator.py` | single moments, and jets of a network's pairs | `registry.py` |
| `series.py` | expansions of neurons, their rules and bounds | `evaluator.py` |
| `kernels.py` | jitted sums | `series.py` |
"""
