"""Online stochastic gradient descent in the limit of large input dimension: its
order parameters.
"""
