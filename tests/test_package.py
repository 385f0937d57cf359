"""The package as a whole: public names, cheap import, on-disk cache, documentation that runs."""

import ast
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

import infflow as inf

ROOT = Path(__file__).parent.parent

PUBLIC = [
    "Activation",
    "polynomial",
    "activation",
    "Net",
    "NetI",
    "SymmetricNetI",
    "Loss",
    "Teacher",
    "Gaussian",
    "GaussianMixture",
    "random_params",
    "loss",
    "gradient",
    "hessian",
    "mixed_hessian",
    "hvp",
    "hessian_spectrum",
    "hessian_eigenvalues",
    "reduce",
    "gradient_covariance",
    "fisher",
    "stationary_covariance",
    "gradient_noise_scale",
    "finite_data_prediction",
    "overlaps",
    "Evaluation",
    "gaussian_moment",
    "gaussian_mean",
    "available_methods",
    "closed_form",
    "bivariate_normal_cdf",
    "FunctionTeacher",
    "PolynomialTeacher",
    "hermite_coefficients",
    "information_exponent",
    "leap_exponent",
    "quadrature_net",
    "gaussian_expectation",
    "OrderParameters",
    "Spectrum",
    "Equilibrium",
    "train",
    "HeavyBall",
    "NaturalGradient",
    "ModifiedFlow",
    "SGDDiffusion",
    "classify",
    "continuation",
    "Branch",
    "certify",
    "Result",
    "trajectory_distance",
    "train_many",
    "unique_solutions",
    "atlas",
    "Atlas",
    "sweep",
    "Sweep",
    "split_neuron",
    "grow",
    "shrink",
    "minimise_orthogonal",
    "loss_on_plane",
    "cosine_similarity",
    "solution_distance",
    "nngp_kernel",
    "ntk_kernel",
    "mean_field",
    "jax_loss",
    "torch_loss",
    "from_torch",
    "to_torch",
    "hessian_operator",
    "extreme_eigenpairs",
    "spectral_density",
    "convergence",
    "set_num_threads",
    "InfflowError",
    "AccuracyWarning",
    "SingularMomentError",
]


def python(code, **environment):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=True,
    ).stdout


def test_public_names():
    assert set(inf.__all__) == {"__version__", *PUBLIC}
    for name in PUBLIC:
        assert getattr(inf, name).__doc__
        assert name in dir(inf)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = inf.nonsense


def test_help_is_a_page_that_has_all_names():
    page = python("import infflow; help(infflow)")
    description, _, _ = page.partition("PACKAGE CONTENTS")
    assert len(description.splitlines()) <= 80
    assert len(page.splitlines()) <= 150  # the rooms, one line each
    entries = re.findall(r"^ {8}(\w+(?:, \w+)*): ", description, flags=re.M)
    assert sorted(", ".join(entries).split(", ")) == sorted(PUBLIC)
    assert all(f"inf.{name} (" in description for name in inf._MODULES)


def test_star_import_has_all_names():
    assert python("from infflow import *; print(NetI.__name__, train.__name__)") == "NetI train\n"


def test_type_checkers_see_all_public_names():
    tree = ast.parse((ROOT / "infflow/__init__.py").read_text())
    block = next(n for n in tree.body if isinstance(n, ast.If) and isinstance(n.test, ast.Name))
    seen = {a.asname: f"{n.module}.{a.name}" for n in block.body for a in n.names}
    modules = {name: f"{home}" for name, home in inf._MODULES.items()}
    names = {name: f"{home}.{name}" for name, home in inf._HOME.items()}
    assert {name: home.removeprefix("None.") for name, home in seen.items()} == {**names, **modules}


def test_types_of_a_user_script(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        """import infflow as inf

net = inf.Net([(2, "erf", True), (1, "identity", True)], input_dim=2)
teacher = inf.Teacher(net, inf.random_params(net, rng=1))
neti = inf.NetI(net, teacher)
reveal_type(neti)
res = inf.train(neti, inf.random_params(net, rng=2))
reveal_type(res)
reveal_type(inf.loss(neti, res.theta))
reveal_type(inf.sklearn.GradientFlowRegressor)
inf.trian(neti)
"""
    )
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--no-error-summary",
        "--follow-imports=silent",
        str(script),
    ]
    found = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False).stdout
    wanted = [
        'Revealed type is "infflow.networks.infinite.neti.NetI"',
        'Revealed type is "infflow.result.Result"',
        'Revealed type is "float"',
        "GradientFlowRegressor",
        'Module has no attribute "trian"',
    ]
    lines = found.replace("builtins.", "").splitlines()
    assert len(lines) == len(wanted), found
    for line, part in zip(lines, wanted, strict=True):
        assert part in line, found


def test_import_is_cheap_and_lazy():
    heavy = [
        "sympy",
        "sklearn",
        "matplotlib",
        "scipy.integrate",
        "scipy.optimize",
        "pandas",
        "torch",
        "xarray",
    ]
    loaded = python("import sys, infflow; print(*sys.modules)").split()
    assert not set(heavy) & set(loaded)
    # using a network still loads none of the symbolic, learning and plotting libraries
    code = (
        "import sys, infflow as inf; inf.random_params(inf.Net([(2, 'erf', True), (1, "
        "'identity', True)], input_dim=2)); print(*sys.modules)"
    )
    assert not {"sympy", "sklearn", "matplotlib"} & set(python(code).split())


def test_second_process_does_not_compile(tmp_path):
    code = """
import infflow as inf
from numba.core import event
compiled = []
class Listener(event.Listener):
    def on_start(self, e):
        compiled.append(e.data["dispatcher"].py_func.__qualname__)
    def on_end(self, e):
        pass
event.register("numba:compile", Listener())
net = inf.Net([(2, "erf", True), (1, "identity", True)], input_dim=2)
neti = inf.NetI(net, inf.Teacher(net, inf.random_params(net, 1)))
inf.train(neti, inf.random_params(net, 2), progress=False)
data = neti.sample(50, 1)
inf.train(data, inf.random_params(net, 2), progress=False, max_steps_newton=5)
print(*compiled)
"""
    python(code)
    assert python(code).split() == []


def blocks(path):
    text = path.read_text()
    return re.findall(r"```python\n(.*?)```", text, flags=re.S)


@pytest.mark.parametrize(
    "path", [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))], ids=lambda p: p.name
)
def test_documentation_runs(path):
    for code in blocks(path):
        namespace = {}
        exec(compile(code, str(path), "exec"), namespace)


def test_readme_example_is_ten_lines():
    assert len(blocks(ROOT / "README.md")[0].splitlines()) <= 12


def test_links_in_documentation_exist():
    for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        text = re.sub(r"`[^`\n]*`", "", path.read_text())  # code has brackets of its own
        for target in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (path.parent / target).exists(), f"{path.name} links to {target}"


def test_no_slow_import():
    """Importing infflow costs little more than importing numba (a bound of 0.5 s on top, for slow
    machines).
    """

    def seconds(module):
        times = []
        for _ in range(3):
            start = time.perf_counter()
            python(f"import {module}")
            times.append(time.perf_counter() - start)
        return min(times)

    assert seconds("infflow") < seconds("numba") + 0.5
