"""Ways around in the loss landscape: other widths with the same function, sections and planes,
distances of solutions.
"""
