"""Perceptrons that stand in for Gaussian integrals: files, cards, checks and export."""
