"""An evaluator is one class with three functions and one registry line: moments and networks then
use it.
"""

import subprocess
import sys

# In a process of its own, as the registry is read when the modules are imported. The evaluator is a
# product of two Gauss-Hermite rules, with the difference from a rule of fewer nodes as its error.
CODE = """
import numpy as np
from infflow.integrals import registry
from infflow.integrals.evaluator import Estimate, Evaluator, Points


def rule(f, g, points, orders, nodes):
    x, w = np.polynomial.hermite_e.hermegauss(nodes)
    w = w / w.sum()
    r1, r2, u, b1, b2 = (column[:, None, None] for column in points.scales)
    h1 = r1 * x[:, None] + b1
    h2 = r2 * (u * x[:, None] + np.sqrt((1 - u) * (1 + u)) * x) + b2
    return [np.einsum("kij,i,j->k", y, w, w) for y in (
        f.derivative(h1, orders[0]) * g.derivative(h2, orders[1]),
        f.derivative(h1, orders[0]) ** 2 + 0 * h2, g.derivative(h2, orders[1]) ** 2)]


class GaussProduct(Evaluator):
    def defined(self, *activations):
        return all(not a.kinks and a.max_order >= 4 for a in activations)

    def moment(self, f, g, points, orders, rtol):
        value, squares1, squares2 = rule(f, g, points, orders, 80)
        scale = np.sqrt(squares1 * squares2)
        error = np.abs(value - rule(f, g, points, orders, 60)[0]) + 1e-13 * scale
        return Estimate(value, error, scale, 6400 * len(value))

    def mean(self, f, r, b, order, rtol):
        one = np.ones_like(r)
        points = Points.at(r, one, 0 * r, b, 0 * r)
        return self.moment(f, inf.polynomial([1.0]), points, (order, 0), rtol)


registry.EVALUATORS["gauss"] = GaussProduct()  # the line of the registry

import infflow as inf

methods = inf.available_methods("tanh", "tanh")
assert methods == (
    "hermite", "closed", "numeric", "gauss", "cubature", "surrogate")
options = {"b1": 0.2, "orders": (1, 2), "method": "gauss", "full_output": True}
found = inf.gaussian_moment("tanh", "gelu", 0.5, 0.7, 0.4, **options)
exact = inf.gaussian_moment("tanh", "gelu", 0.5, 0.7, 0.4, b1=0.2, orders=(1, 2), method="closed")
assert found.method == "gauss" and abs(found.value - exact) <= found.error_bound < 1e-9
mean = inf.gaussian_mean("tanh", 0.5, 0.3, method="gauss")
assert abs(mean - inf.gaussian_mean("tanh", 0.5, 0.3)) < 1e-9

student = inf.Net([(2, "tanh", True), (2, "identity", True)], input_dim=3)
network = inf.Net([(2, "gelu", True), (2, "identity", True)], input_dim=3)
teacher = inf.Teacher(network, np.linspace(-0.6, 0.7, 14))
theta = 0.3 * inf.random_params(student, rng=2)
neti = inf.NetI(student, teacher, method="gauss", rtol=1e-6)
exact = inf.NetI(student, teacher, method="closed", rtol=1e-6)
a, b = neti.evaluate(theta, order=2), exact.evaluate(theta, order=2)
assert abs(a.value - b.value) < 1e-9
assert np.abs(a.gradient - b.gradient).max() < 1e-8
assert np.abs(a.hessian - b.hessian).max() < 1e-7, np.abs(a.hessian - b.hessian).max()
assert "gauss" in neti.explain() and "cubature" not in neti.explain()

# with kinks it is not defined; automatic choices come to it only where nothing before it meets
# the tolerance
try:
    kinked = inf.Net([(2, "relu", True), (2, "identity", True)], input_dim=3)
    inf.NetI(kinked, teacher, method="gauss").evaluate(theta, order=0)
except inf.InfflowError as error:
    assert "not defined" in str(error)
else:
    raise AssertionError("relu was taken")
assert "gauss" not in inf.NetI(student, teacher).explain(theta)
"""


def test_a_new_evaluator_is_one_entry():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", CODE], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
