"""Sweeps: a function called at all points of a grid, with results that survive
whatever is killed.
"""
