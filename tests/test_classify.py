"""What kind of point: constructed minima, degenerate minima, saddles and points on the way, on both
networks.
"""

import numpy as np
import pytest

import infflow as inf
from infflow.classification import pieces
from infflow.classification.classify import PointKind
from infflow.classification.features import null_space, null_space_of_sums, nullity
from infflow.classification.structure import Role
from infflow.classification.symmetries import Symmetry, families
from infflow.networks.infinite.targets.function_teacher import FunctionTeacher

MINIMUM, DEGENERATE, _, SADDLE, NOT_CONVERGED, AT_INFINITY = PointKind


def shallow(width, dim, activation="erf", bias=False, outputs=1, **options):
    layers = [(width, activation, bias), (outputs, "identity", bias)]
    return inf.Net(layers, **({} if "input" in options else {"input_dim": dim}), **options)


def orthonormal_teacher(M, D, activation="erf"):
    net = shallow(M, D, activation)
    return inf.Teacher(net, net.pack([(np.eye(M, D), None), (np.ones((1, M)), None)]))


def both(neti, N=4000):
    """The infinite-data net, and a finite sample of it without label noise."""
    return [neti, neti.sample(N, 0)]


def dimensions(found):
    """Flat dimensions by symmetry."""
    total = {}
    for each in found.flat:
        total[each.symmetry] = total.get(each.symmetry, 0) + each.dimension
    return total


def symmetric_saddle():
    """One student that averages two teachers is optimal; split into two equal ones it
    is a saddle.
    """
    neti = inf.NetI(shallow(2, 2), orthonormal_teacher(2, 2))
    w = np.ones(2) / np.sqrt(6)  # norm 1/sqrt(3), output weight 2
    return neti, neti.pack([(np.array([w, w]), None), (np.ones((1, 2)), None)])


@pytest.mark.parametrize("finite", [0, 1])
def test_teacher_copy_is_a_minimum(finite):
    teacher = orthonormal_teacher(3, 4)
    net = both(inf.NetI(shallow(3, 4), teacher))[finite]
    theta = teacher.theta.copy()
    found = inf.classify(net, theta, teacher=teacher if finite else None)
    assert found.kind is MINIMUM and found.index == 0 and not found.flat and not found.reason
    assert (
        found.h == 0.0
        and found.distance == 0.0
        and found.expected_loss == pytest.approx(0.0, abs=1e-30)
    )
    assert len(found.eigenvalues) == 15 and found.eigenvalues[0] > 0
    np.testing.assert_allclose(
        found.eigenvalues, inf.hessian_spectrum(net, theta).values, atol=1e-13
    )
    assert [(role.role, role.teachers) for role in found.structure.roles] == [
        (Role.COPY, (j,)) for j in range(3)
    ]
    assert [role.output_ratio for role in found.structure.roles] == pytest.approx([1.0] * 3)


@pytest.mark.parametrize("finite", [0, 1])
def test_permuted_copy_with_sign_nearby(finite):
    # distance and loss are predicted from a point that is not quite there
    teacher = orthonormal_teacher(2, 3)
    net = both(inf.NetI(shallow(2, 3), teacher))[finite]
    exact = net.pack(
        [(np.eye(2, 3)[::-1] * [[-1.0], [1.0]], None), (np.array([[-1.0, 1.0]]), None)]
    )
    theta = exact + 1e-5 * np.random.default_rng(0).standard_normal(8)
    found = inf.classify(net, theta, teacher=teacher if finite else None)
    assert found.kind is MINIMUM and 0 < found.h <= 0.5
    distance = np.linalg.norm(theta - exact)
    assert found.distance == pytest.approx(
        distance, rel=1e-3
    )  # the next term is of relative order |theta - exact|
    assert distance <= found.newton.distance_bound
    assert abs(found.expected_loss) < 1e-3 * found.loss
    assert found.newton.decrement**2 / 2 == pytest.approx(found.loss, rel=1e-3)
    assert [role.teachers for role in found.structure.roles] == [(1,), (0,)]


@pytest.mark.parametrize("finite", [0, 1])
def test_overparameterised_solution(finite):
    """Students 0, 3 share teacher 0; student 1 is dead; student 4 duplicates it and copies teacher
    1.
    """
    teacher = orthonormal_teacher(3, 4)
    net = both(inf.NetI(shallow(5, 4), teacher))[finite]
    W = np.vstack([np.eye(3, 4), -np.eye(3, 4)[0], np.eye(3, 4)[1]])
    theta = net.pack([(W, None), (np.array([[0.3, 0.0, 1.0, -0.7, 1.0]]), None)])
    found = inf.classify(net, theta, teacher=teacher if finite else None)
    assert found.kind is DEGENERATE and found.index == 0
    # 25 parameters; the functions phi_j, x_d phi_j' of three neurons span 15 dimensions
    assert found.flat_dimension == 10 and len(found.eigenvalues) == 15
    assert dimensions(found) == {Symmetry.DUPLICATE: 2, Symmetry.DEAD: 4, Symmetry.ZERO_LOSS: 4}
    assert found.duplicates == ((0, 3), (1, 4)) == found.structure.duplicates
    assert [role.role for role in found.structure.roles] == [
        Role.COPY,
        Role.DEAD,
        Role.COPY,
        Role.COPY,
        Role.COPY,
    ]
    assert found.structure.roles[3].output_ratio == pytest.approx(-0.7)
    # the flat directions are flat: moving along a split changes nothing
    moved = theta.copy()
    moved[-5] = 0.5
    moved[-2] = -0.5
    assert inf.loss(net, moved) == pytest.approx(0.0, abs=1e-30)


@pytest.mark.parametrize(("activation", "gap"), [("erf", 1e-5), ("relu", 1e-8)])
@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_duplicates_that_still_approach_each_other(activation, gap, noise):
    """Next to a loss of zero, curvatures of order gap^2 (with kinks gap) are those of flat
    directions.
    """
    net = shallow(2, 3, activation)
    teacher = inf.Teacher(
        net, net.pack([(np.eye(2, 3), None), (np.ones((1, 2)), None)]), noise=noise
    )
    neti = inf.NetI(shallow(3, 3, activation), teacher)
    apart = gap * np.array([0.0, 0.5, 1.0])
    W = np.array([[1.0, 0, 0] + 0.6 * apart, [0, 1.0, 0], [1.0, 0, 0] - 0.4 * apart])
    found = inf.classify(neti, neti.pack([(W, None), (np.array([[0.4, 1.0, 0.6]]), None)]))
    assert found.kind is DEGENERATE and found.h < 1e-6 and found.duplicates == ((0, 2),)
    assert found.flat_dimension == 12 - (
        8 if activation == "erf" else 6
    )  # parameters of the teacher without scalings


def test_symmetric_pair_is_a_saddle():
    neti, theta = symmetric_saddle()
    found = inf.classify(neti, theta)
    assert found.kind is SADDLE and found.index == 1 and found.h < 1e-10
    assert dimensions(found)[Symmetry.DUPLICATE] == 1
    assert found.structure.roles[0].role is Role.AVERAGE and set(
        found.structure.roles[0].teachers
    ) == {0, 1}
    assert found.duplicates == ((0, 1),)
    down = inf.hessian_spectrum(neti, theta).vectors[:, 0]
    assert inf.loss(neti, theta + 1e-2 * down) < inf.loss(neti, theta) - 1e-6


def test_copy_average_pattern():
    # two students, three teachers: one copies, one averages the other two
    neti = inf.NetI(shallow(2, 3), orthonormal_teacher(3, 3))
    W = np.array([[1.0, 0.0, 0.0], [0.0, 0.45, 0.45]])
    start = neti.pack([(W, None), (np.array([[1.0, 2.0]]), None)])
    found = inf.classify(neti, inf.train(neti, start, progress=False).theta)
    assert found.kind is MINIMUM
    copy, average = found.structure.roles
    assert copy.role is Role.COPY and copy.teachers == (0,)
    assert average.role is Role.AVERAGE and set(average.teachers) == {1, 2}
    assert found.structure.ignored == ()


@pytest.mark.parametrize("M", [2, 4, 7])
def test_one_student_averages_all(M):
    neti = inf.NetI(shallow(1, M), orthonormal_teacher(M, M))
    start = neti.pack([(np.full((1, M), 0.5 / np.sqrt(M)), None), (np.ones((1, 1)), None)])
    theta = inf.train(neti, start, progress=False).theta
    w, a = theta[:M], theta[M]
    assert a == pytest.approx(M, rel=1e-10)
    np.testing.assert_allclose(w, 1 / np.sqrt(2 * M - 1) / np.sqrt(M), rtol=1e-10)
    found = inf.classify(neti, theta)
    assert found.kind is MINIMUM
    assert found.structure.roles[0].role is Role.AVERAGE and set(
        found.structure.roles[0].teachers
    ) == set(range(M))


@pytest.mark.parametrize("finite", [0, 1])
def test_slow_stretch_is_not_converged(finite):
    """Next to the saddle the loss hardly changes for long; half way along the plateau nothing has
    converged.
    """
    neti, saddle = symmetric_saddle()
    net = both(neti)[finite]
    theta = saddle + 0.02 * np.array([1.0, -1.0, -1.0, 1.0, 0.0, 0.0])
    path = inf.train(net, theta, t_end=12.0, max_steps_newton=0, progress=False)
    drop = inf.loss(net, theta) - path.loss
    assert 0 < drop < 0.2 * inf.loss(net, theta)  # the plateau
    found = inf.classify(net, path.theta)
    assert found.kind is NOT_CONVERGED and found.h > 0.5 and "Newton-Kantorovich" in found.reason
    assert found.newton.distance_bound == np.inf and "not converged" in str(found)


@pytest.mark.parametrize("finite", [0, 1])
@pytest.mark.parametrize("activation", ["relu", "abs", "leaky_relu"])
def test_scaling_of_homogeneous_neurons(finite, activation):
    teacher = orthonormal_teacher(3, 4, activation)
    net = both(inf.NetI(shallow(3, 4, activation), teacher))[finite]
    scale = np.array([2.0, 0.5, 1.0])
    theta = net.pack([(np.eye(3, 4) * scale[:, None], None), (1 / scale[None], None)])
    found = inf.classify(net, theta)
    assert found.kind is DEGENERATE and dimensions(found) == {Symmetry.SCALING: 3}
    assert len(found.eigenvalues) == 12 and found.eigenvalues[0] > 1e-2
    # with the output weights frozen nothing is flat
    frozen = np.arange(15) >= 12
    fixed = inf.classify(net, theta, frozen=frozen)
    assert fixed.kind is MINIMUM and len(fixed.eigenvalues) == 12


def test_collinear_relu_neurons():
    teacher = orthonormal_teacher(2, 3, "relu")
    neti = inf.NetI(shallow(3, 3, "relu"), teacher)
    W = np.array([[1.0, 0, 0], [0, 1.0, 0], [0, 3.0, 0]])
    theta = neti.pack([(W, None), (np.array([[1.0, 0.4, 0.2]]), None)])
    found = inf.classify(neti, theta)
    assert found.kind is DEGENERATE and found.duplicates == ((1, 2),)
    assert dimensions(found) == {Symmetry.SCALING: 3, Symmetry.DUPLICATE: 1, Symmetry.ZERO_LOSS: 2}


def test_symmetries_that_only_together_respect_frozen_parameters():
    # collinear relu neurons with frozen output weights: their lengths can be shared in any
    # proportion
    neti = inf.NetI(shallow(2, 2, "relu"), orthonormal_teacher(1, 2, "relu"))
    theta = neti.pack([([[0.3, 0.0], [0.7, 0.0]], None), ([[1.0, 1.0]], None)])
    found = inf.classify(neti, theta, frozen=np.arange(6) >= 4)
    assert found.kind is DEGENERATE and dimensions(found)[Symmetry.JOINT] == 1
    moved = neti.pack([([[0.4, 0.0], [0.6, 0.0]], None), ([[1.0, 1.0]], None)])
    assert inf.loss(neti, moved) < 1e-30


def test_dead_neuron_with_a_residual_is_a_saddle():
    # a = 0: the loss does not depend on w, yet moving w switches on a gradient; that is no flat
    # direction
    neti = inf.NetI(shallow(2, 2), orthonormal_teacher(2, 2))
    W = np.array([[1.0, 1.0] / np.sqrt(6), [1.0, -1.0]])  # E residual erf(w.x) = 0 by symmetry
    theta = neti.pack([(W, None), (np.array([[2.0, 0.0]]), None)])
    assert np.abs(inf.gradient(neti, theta)).max() < 1e-15
    found = inf.classify(neti, theta)
    assert found.kind is SADDLE and found.index == 1


@pytest.mark.parametrize("bias", [False, True])
def test_rank_deficient_data(bias):
    rng = np.random.default_rng(3)
    Z = rng.standard_normal((300, 2))
    X = np.column_stack([Z, Z[:, 0] + 2 * Z[:, 1] + bias, np.zeros(300)])
    net = shallow(
        2,
        4,
        "tanh",
        bias,
        input=X,
        target=np.tanh(X @ [1.0, -0.5, 0.3, 1.0]) + np.tanh(X[:, 1] - 0.2),
    )
    theta = inf.train(net, inf.random_params(net, 1), max_time_flow=5.0, progress=False).theta
    found = inf.classify(net, theta)
    assert (
        dimensions(found)[Symmetry.NULL_INPUT] == 2 * 2
    )  # two null combinations for each of two neurons
    assert found.kind is DEGENERATE and found.h <= 0.5
    assert len(found.eigenvalues) == len(theta) - 4


def test_degenerate_covariance():
    teacher = orthonormal_teacher(1, 2)
    neti = inf.NetI(
        shallow(1, 2), teacher, input=inf.Gaussian([0.0, 0.0], [[1.0, 1.0], [1.0, 1.0]])
    )
    found = inf.classify(neti, teacher.theta)
    assert found.kind is DEGENERATE and dimensions(found) == {Symmetry.NULL_INPUT: 1}


def test_dead_relu_on_data_and_deep_scaling():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (200, 2))
    layers = [(3, "relu", True), (2, "relu", True), (1, "identity", True)]
    teacher = inf.Net(layers, input_dim=2)
    W1, b1 = (
        np.array([[1.0, 0.0], [1.0, 0.5], [-0.4, 1.0]]),
        np.array([-2.0, 0.1, 0.2]),
    )  # neuron 0 is never active
    W2 = np.array([[0.3, 1.0, -0.8], [0.5, -0.7, 0.9]])
    b2 = np.array([0.05, 0.1])
    star = teacher.pack([(W1, b1), (W2, b2), (np.array([[1.0, -0.7]]), np.array([0.3]))])
    net = inf.Net(layers, input=X, target=teacher.predict(star, X))
    found = inf.classify(net, star)
    assert found.kind is DEGENERATE
    total = dimensions(found)
    # w and b of neuron 0 (one of these directions is its scaling), and its two outgoing weights
    assert total[Symmetry.SCALING] == 5 and total[Symmetry.DEAD] == 4
    values = inf.hessian_spectrum(net, star).values
    assert found.flat_dimension == (values < 1e-10 * values[-1]).sum()


@pytest.mark.parametrize(("activation", "flat"), [("identity", 4), ("square", 1)])
def test_mixing_of_linear_and_quadratic_neurons(activation, flat):
    # not realizable, so that the zero loss explains nothing
    net = shallow(2, 3, activation)
    neti = inf.NetI(net, orthonormal_teacher(3, 3, "cube" if activation == "identity" else "relu"))
    theta = inf.train(neti, inf.random_params(neti, 2), max_time_flow=5.0, progress=False).theta
    found = inf.classify(neti, theta)
    total = dimensions(found)
    assert total.pop(Symmetry.MIXING) == (2 if activation == "identity" else 1)
    assert total.pop(Symmetry.SCALING) == 2
    values = inf.hessian_spectrum(neti, theta).values
    assert found.flat_dimension == (np.abs(values) < 1e-9 * values[-1]).sum()


def test_dependent_neurons():
    # on three samples, four neurons are linearly dependent
    X = np.array([[-1.0], [0.2], [0.9]])
    net = inf.Net([(4, "tanh", True), (1, "identity", False)], input=X, target=[0.3, -0.2, 0.5])
    theta = inf.train(
        net, inf.random_params(net, 0, init="standard_normal"), max_time_flow=5.0, progress=False
    ).theta
    found = inf.classify(net, theta)
    assert found.kind is DEGENERATE and dimensions(found)[Symmetry.DEPENDENT] == 1
    assert found.flat_dimension == net.num_params - 3


def critical_on_data(layers, theta, X, residual=1e-3, **options):
    """A net and targets for which theta is critical: the residual is orthogonal to the derivatives
    of the outputs.
    """
    net = inf.Net(layers, input_dim=X.shape[1], **options)
    output = net.predict(theta, X)
    step = 1e-6
    J = [
        (net.predict(theta + step * e, X) - net.predict(theta - step * e, X)).ravel() / (2 * step)
        for e in np.eye(len(theta))
    ]
    U, s, _ = np.linalg.svd(np.array(J).T, full_matrices=False)
    U = U[:, s > 1e-7 * s[0]]
    r = np.random.default_rng(1).standard_normal(output.size)
    for _ in range(3):
        r -= U @ (U.T @ r)
    return inf.Net(layers, input=X, target=output + residual * r.reshape(output.shape), **options)


def check_pieces(net, theta):
    """Flat directions are explained, as many as the Hessian has, and along them nothing happens."""
    found = inf.classify(net, theta)
    spectrum = inf.hessian_spectrum(net, theta).values
    assert found.flat_dimension == (np.abs(spectrum) < 1e-10 * spectrum[-1]).sum()
    assert found.index == (spectrum < -1e-10 * spectrum[-1]).sum()
    assert Symmetry.UNKNOWN not in dimensions(found)
    for family in families(net, theta):
        if family.exact:
            V = family.directions / np.linalg.norm(family.directions, axis=0)
            assert np.abs(inf.hessian(net, theta) @ V).max() < 1e-12 * spectrum[-1]
            for v in V.T:  # a line that leaves the flat manifold with t^2 changes the loss with t^4
                assert (
                    abs(inf.loss(net, theta + 1e-4 * v) - inf.loss(net, theta))
                    < 1e-14 * spectrum[-1]
                )
    return dimensions(found)


def pieces_of(net, theta):
    found = [
        family for family in families(net, theta) if family.symmetry is Symmetry.PIECEWISE_LINEAR
    ]
    return found[0].directions if found else np.zeros((net.num_params, 0))


HARD_TANH = inf.Activation.from_sympy("hard_tanh", "Max(-1, Min(1, x))")


@pytest.mark.parametrize("options", [{}, {"parametrization": "ntk"}], ids=["standard", "ntk"])
@pytest.mark.parametrize(("D", "O", "N"), [(3, 1, 60), (3, 2, 60), (4, 1, 25), (4, 2, 30)])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    "activation", ["relu", "leaky_relu", "abs", "step", "identity", HARD_TANH], ids=str
)
def test_piecewise_linear_layers(activation, bias, D, O, N, options):
    """Random weights; the same weights twice, with other biases; a neuron beyond its kink on all
    samples.
    """
    rng = np.random.default_rng(N)
    layers = [(3, activation, bias), (O, "identity", bias)]
    net = inf.Net(layers, input_dim=D)
    theta = rng.standard_normal(net.num_params)
    (W, b), (A, c) = net.unpack(theta)
    twice = np.vstack([W[:1], W[:1], W[2:]])
    shifted = None if b is None else b + np.array([8.0, 0.0, 0.0])
    X = rng.standard_normal((N, D))
    for point in (theta, net.pack([(twice, b), (A, c)]), net.pack([(W, shifted), (A, c)])):
        check_pieces(critical_on_data(layers, point, X, **options), point)


@pytest.mark.parametrize("small", [1e-4, 1e-8, 1e-17])
def test_piecewise_linear_neurons_with_small_output_weights(small):
    """Changes of their weights that cancel are long, those of others short."""
    rng = np.random.default_rng(5)
    layers = [(3, "relu", True), (1, "identity", True)]
    theta = rng.standard_normal(16)
    theta[13] = small
    net = critical_on_data(layers, theta, rng.standard_normal((60, 3)))
    (pieces,) = [
        family for family in families(net, theta) if family.symmetry is Symmetry.PIECEWISE_LINEAR
    ]
    assert pieces.exact and pieces.directions.shape[1] >= 2
    for v in pieces.directions.T:  # to first order; the second is 1e-6
        moved = net.predict(theta + 1e-6 * v, net.data.X) - net.predict(theta, net.data.X)
        assert np.abs(moved).max() < 1e-11
    if small < 1e-10:  # otherwise curvatures are small, but not zero
        check_pieces(net, theta)


def test_split_relu_neuron_on_data():
    """Both halves have the same active samples: w1 += d/a1, w2 -= d/a2 changes nothing."""
    X = np.random.default_rng(0).standard_normal((200, 3))
    target = np.maximum(X @ [1.0, 0.5, -0.3], 0) + 0.3 * X[:, 1] ** 2
    net = shallow(1, 3, "relu", input=X, target=target)
    single = inf.train(net, [1.0, 0.5, -0.3, 1.0], progress=False).theta
    wide, theta = inf.split_neuron(net, single, 0, 0.3)
    total = check_pieces(wide, theta)
    assert total == {Symmetry.SCALING: 2, Symmetry.DUPLICATE: 1, Symmetry.PIECEWISE_LINEAR: 2}
    assert inf.classify(wide, theta).kind is DEGENERATE
    (W, _), (A, _) = wide.unpack(theta)
    for d in 1e-4 * np.eye(3):
        moved = wide.pack([(W + np.array([d / A[0, 0], -d / A[0, 1]]), None), (A, None)])
        assert abs(inf.loss(wide, moved) - inf.loss(wide, theta)) < 1e-15


def test_split_relu_neuron_of_two_outputs_is_flat_only_where_the_hessian_says_so():
    """Output vectors are parallel; moving the halves apart lets them differ, with a
    gain: a saddle.
    """
    rng = np.random.default_rng(3)
    net = critical_on_data(
        [(2, "relu", False), (2, "identity", False)],
        theta := rng.standard_normal(10),
        rng.standard_normal((60, 3)),
    )
    wide, split = inf.split_neuron(net, theta, 0, 0.3)
    total = check_pieces(wide, split)
    assert inf.classify(wide, split).kind is SADDLE and total[Symmetry.DUPLICATE] == 1
    V = pieces_of(wide, split)
    assert (
        V.shape[1] == 3 and np.abs(inf.hessian(wide, split) @ V).max() > 1e-5
    )  # constant loss, yet not flat


def test_relu_neurons_active_on_all_or_on_few_samples():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((40, 4))
    layers = [(2, "relu", True), (1, "identity", True)]
    net = inf.Net(layers, input_dim=4)
    W = rng.standard_normal((2, 4))
    A = rng.standard_normal((1, 2))
    c = np.ones(1)
    second = np.sort(X @ W[1])[-3:-1].mean()  # neuron 1 is active on two samples
    theta = net.pack([(W, np.array([10.0, -second])), (A, c)])
    net = critical_on_data(layers, theta, X)
    total = check_pieces(net, theta)
    # neuron 0: b against c; neuron 1: of w and b (5) two matter
    assert total == {Symmetry.SCALING: 2, Symmetry.PIECEWISE_LINEAR: 1 + 3}
    moved = net.pack([(W, np.array([9.0, -second])), (A, c + A[0, 0])])
    assert inf.loss(net, moved) == pytest.approx(inf.loss(net, theta), rel=1e-12)
    # with frozen biases: of w and a of neuron 1 (5) two matter
    frozen = np.isin(np.arange(net.num_params), [8, 9, 12])
    fixed = inf.classify(net, theta, frozen=frozen)
    free = inf.hessian(net, theta)[np.ix_(~frozen, ~frozen)]
    assert fixed.kind is DEGENERATE and dimensions(fixed) == {Symmetry.PIECEWISE_LINEAR: 3}
    assert (np.abs(np.linalg.eigvalsh(free)) < 1e-12).sum() == 3


def test_no_direction_moves_a_sample_across_a_kink():
    X = np.linspace(0.0, 1.0, 9)[:, None]  # the first sample lies on the kink of relu(x)
    net = inf.Net([(1, "relu", True), (1, "identity", True)], input=X, target=np.cos(X[:, 0]))
    on = [1.0, 0.0, 0.5, 0.1]
    beside = [1.0, 0.2, 0.5, 0.1]
    assert pieces_of(net, np.array(on)).shape[1] == 0
    shift = (
        pieces_of(net, np.array(beside))
        @ pieces_of(net, np.array(beside)).T
        @ [0.0, 1.0, 0.0, -0.5]
    )
    np.testing.assert_allclose(shift, [0.0, 1.0, 0.0, -0.5], atol=1e-14)


def test_deep_piecewise_linear_layers():
    """What changes only sums on which the next layer is inactive has no effect either."""
    rng = np.random.default_rng(2)
    layers = [(3, "relu", True), (3, "relu", True), (1, "identity", True)]
    X = rng.standard_normal((60, 3))
    theta = rng.standard_normal(28)
    total = check_pieces(critical_on_data(layers, theta, X, residual=1e-4), theta)
    assert total[Symmetry.SCALING] == 6 and total[Symmetry.PIECEWISE_LINEAR] == 6


def test_second_layer_that_receives_duplicates():
    """It may share its weights among them as far as the outputs go, but the weights of the first
    layer feel that.
    """
    rng = np.random.default_rng(0)
    layers = [(3, "tanh", False), (3, "relu", True), (1, "identity", True)]
    X = rng.standard_normal((60, 3))
    theta = rng.standard_normal(25)
    theta[3:6] = theta[:3]
    net = critical_on_data(layers, theta, X, residual=1e-2)
    check_pieces(net, theta)
    (pieces,) = [
        family for family in families(net, theta) if family.symmetry is Symmetry.PIECEWISE_LINEAR
    ]
    assert pieces.layer == 1 and not pieces.exact
    assert (
        np.abs(inf.hessian(net, theta) @ pieces.directions).max() > 1e-6
    )  # not flat: its curvature is 1e-13 otherwise


def test_softmax_shift():
    rng = np.random.default_rng(0)
    net = inf.Net(
        [(3, "identity", True)],
        input=rng.standard_normal((60, 2)),
        target=rng.integers(0, 3, 60),
        loss="cross_entropy",
    )
    found = inf.classify(net, inf.train(net, np.zeros(9), progress=False).theta)
    assert found.kind is DEGENERATE and dimensions(found) == {Symmetry.OUTPUT_SHIFT: 3}


def test_ridge_breaks_symmetries():
    teacher = orthonormal_teacher(2, 2, "relu")
    neti = inf.NetI(shallow(2, 2, "relu"), teacher, ridge=1e-3)
    found = inf.classify(neti, inf.train(neti, teacher.theta, progress=False).theta)
    assert found.kind is MINIMUM and not found.flat


@pytest.mark.parametrize("size", [0.0, 1e-14, 1e-10])
def test_all_weights_next_to_zero(size):
    """There slope over output weight, which excuses curvature of shared output weights elsewhere,
    does not vanish.
    """
    net = shallow(3, 2)
    neti = inf.NetI(net, inf.Teacher(net, inf.random_params(net, 5, init="standard_normal")))
    found = inf.classify(neti, np.full(9, size))
    values = inf.hessian_spectrum(neti, np.full(9, size)).values
    assert found.kind is SADDLE and found.index == (values < -1).sum() == 3
    assert found.flat_dimension == (np.abs(values) < 1e-12).sum() == 3


@pytest.mark.parametrize("scale", [1.0, 1e-2, 1e-5])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_large_ridge_leaves_a_minimum_at_zero(activation, scale):
    """Curvatures are positive, though with small inputs small against that of the output bias."""
    X = np.random.default_rng(0).standard_normal((40, 2))
    net = inf.Net(
        [(3, activation, False), (1, "identity", True)],
        input=scale * X,
        target=np.sin(X[:, 0]),
        ridge=3.0 * scale,
    )
    bias = -inf.gradient(net, np.zeros(10))[9] / inf.hessian(net, np.zeros(10))[9, 9]
    for weights in (1e-22 * np.random.default_rng(1).standard_normal(9), np.full(9, 1e-13)):
        near = np.append(weights, bias)
        found = inf.classify(net, near)
        assert inf.hessian_spectrum(net, near).values[0] > 1.5 * scale
        assert found.kind is MINIMUM and not found.flat and len(found.eigenvalues) == 10


def test_other_evaluators_and_teachers():
    teacher = orthonormal_teacher(2, 3, "tanh")  # no closed form: series or mixtures
    found = inf.classify(inf.NetI(shallow(2, 3, "tanh"), teacher), teacher.theta)
    assert found.kind is MINIMUM and found.structure.ignored == ()
    function = FunctionTeacher(lambda z: z[:, 0] ** 2, np.eye(1, 2))
    neti = inf.NetI(shallow(1, 2, "square"), function)
    found = inf.classify(neti, [1.0, 0.0, 2.0])
    assert (
        found.kind is DEGENERATE
        and dimensions(found) == {Symmetry.SCALING: 1}
        and found.structure is None
    )


def test_result_is_readable_and_plain():
    neti, theta = symmetric_saddle()
    found = inf.classify(neti, theta)
    text = repr(found)
    for part in (
        "saddle of index 1",
        "sampled",
        "share their output weights",
        "student 0 averages teachers 0, 1",
    ):
        assert part in text
    plain = found.to_dict()
    assert (
        plain["kind"] == "SADDLE"
        and plain["index"] == 1
        and plain["flat_dimension"] == found.flat_dimension
    )
    assert (
        plain["flat"][0]["symmetry"] == "DUPLICATE"
        and plain["structure"]["roles"][0]["role"] == "AVERAGE"
    )
    assert plain["newton_step"].shape == theta.shape


def test_bad_arguments():
    neti, theta = symmetric_saddle()
    with pytest.raises(inf.InfflowError, match="knows the symmetries"):
        inf.classify(object(), theta)
    with pytest.raises(inf.InfflowError, match="no data"):
        inf.classify(neti.student, theta)
    with pytest.raises(inf.InfflowError, match="boolean"):
        inf.classify(neti, theta, frozen=np.zeros(6))
    with pytest.raises(inf.InfflowError, match=r"\(6,\) is needed"):
        inf.classify(neti, theta, frozen=np.zeros(5, dtype=bool))
    with pytest.raises(inf.InfflowError, match="at least one must be free"):
        inf.classify(neti, theta, frozen=np.ones(6, dtype=bool))
    with pytest.raises(inf.InfflowError, match="has its own"):
        inf.classify(neti, theta, teacher=neti.teacher)
    with pytest.raises(inf.InfflowError, match=r"inf\.Teacher"):
        inf.classify(neti.sample(10, 0), theta, teacher=neti)


# --------------------------------------------------------------------------------------------- what
# is frozen, and how


def frozen_run():
    """A minimum over the input weights alone, of a network whose output weights are held."""
    neti = inf.NetI(shallow(2, 3, "relu"), orthonormal_teacher(2, 3, "relu"))
    eta = np.ones(8)
    eta[6:] = 0.0
    return (
        neti,
        eta,
        inf.train(neti, inf.random_params(neti.student, rng=0), eta=eta, progress=False),
    )


def test_a_result_knows_what_was_frozen(tmp_path):
    neti, eta, run = frozen_run()
    assert inf.classify(neti, run.theta).kind is DEGENERATE  # scalings, if all could move
    run.save(tmp_path / "run.npz")
    free_scales = np.where(eta == 0.0, 0.0, 3.0)
    for found in (
        inf.classify(neti, run),
        inf.classify(
            neti, inf.train(neti, run.theta, eta=free_scales, max_steps_flow=0, progress=False)
        ),
        inf.classify(neti, type(run).load(tmp_path / "run.npz")),
        inf.classify(neti, run.theta, eta=eta),
        inf.classify(neti, run.theta, frozen=eta == 0.0),
    ):
        assert found.kind is MINIMUM and found.flat_dimension == 0 and len(found.eigenvalues) == 6
    # what is said counts more than what the run knows
    assert inf.classify(neti, run, eta=1.0).kind is DEGENERATE
    assert inf.classify(neti, run, frozen=np.zeros(8, dtype=bool)).kind is DEGENERATE
    plain = inf.train(neti, run.theta, progress=False)
    assert inf.classify(neti, plain).kind is DEGENERATE
    plain.settings.pop("eta")  # results of other packages
    assert inf.classify(neti, plain).kind is DEGENERATE


def test_a_certificate_takes_them_from_the_result_too():
    pytest.importorskip("flint")
    neti = inf.NetI(shallow(1, 2), orthonormal_teacher(2, 2))
    eta = np.array([1.0, 1.0, 0.0])
    run = inf.train(neti, [0.3, 0.3, 1.0], eta=eta, progress=False)
    for found in (inf.certify(neti, run), inf.certify(neti, run.theta, eta=eta)):
        assert found.proved and found.frozen == (2,)


def test_what_cannot_be_said_about_frozen_parameters():
    neti, eta, run = frozen_run()
    with pytest.raises(inf.InfflowError, match="give one of them"):
        inf.classify(neti, run, frozen=eta == 0.0, eta=eta)
    with pytest.raises(inf.InfflowError, match=r"\(8,\) is needed"):
        inf.classify(neti, run, eta=eta[:3])
    with pytest.raises(inf.InfflowError, match="negative"):
        inf.classify(neti, run, eta=-eta)
    with pytest.raises(inf.InfflowError, match="at least one must be free"):
        inf.classify(neti, run, eta=0.0)
    with pytest.raises(inf.InfflowError, match="lanczos"):
        inf.classify(neti, run, method="arnoldi")


# --------------------------------------------------------------------------------------------------
# large networks


def near_teacher(activation, K, D, bias=False, N=0):
    net = shallow(K, D, activation, bias)
    theta = inf.random_params(net, rng=0)
    neti = inf.NetI(net, inf.Teacher(net, theta))
    return neti.sample(N, 0) if N else neti, theta + 1e-9 * np.random.default_rng(
        1
    ).standard_normal(len(theta))


def spurious(N=0):
    student = shallow(4, 20)
    teacher = shallow(6, 20)
    neti = inf.NetI(student, inf.Teacher(teacher, inf.random_params(teacher, rng=1)))
    net = neti.sample(N, 0) if N else neti
    theta = inf.train(net, inf.random_params(student, rng=2), progress=False).theta
    return net, theta + 1e-9 * np.random.default_rng(1).standard_normal(
        len(theta)
    )  # so that gradients are no rounding


POINTS = {
    "relu": lambda: near_teacher("relu", 5, 40),
    "tanh with biases": lambda: near_teacher("tanh", 3, 30, True),
    "tanh on data": lambda: near_teacher("tanh", 3, 30, False, 500),
    "spurious minimum": spurious,
    "spurious minimum on data": lambda: spurious(300),
    "on the way": lambda: (spurious()[0], 0.5 * inf.random_params(shallow(4, 20), rng=3)),
    "next to a saddle": lambda: (lambda net, theta: (net, theta))(*wide_saddle(1e-7)),
}


def wide_saddle(gap, D=60):
    """Two students that both average two teachers, in many dimensions."""
    neti = inf.NetI(shallow(2, D), orthonormal_teacher(2, D))
    w = np.zeros(D)
    w[:2] = 1 / np.sqrt(6)
    return neti, neti.pack([(np.array([w + gap, w]), None), (np.ones((1, 2)), None)])


@pytest.mark.parametrize("point", POINTS)
def test_products_alone_find_what_all_eigenvalues_do(point):
    net, theta = POINTS[point]()
    dense, few = (inf.classify(net, theta, method=method) for method in ("dense", "lanczos"))
    assert dense.unknown == () and dense.method == "dense"
    assert (
        few.kind is dense.kind
        and few.method == "lanczos"
        and "smallest eigenvalues" in few.unknown[0]
    )
    assert few.index <= dense.index and (few.index > 0) == (dense.index > 0)
    assert few.loss == pytest.approx(dense.loss, rel=1e-9, abs=1e-24)
    low = few.eigenvalues[0]
    assert low == pytest.approx(dense.eigenvalues[0], rel=1e-5, abs=1e-9 * dense.eigenvalues[-1])
    if dense.kind is not NOT_CONVERGED:
        assert few.newton.beta == pytest.approx(dense.newton.beta, rel=1e-2)
        assert few.newton.length == pytest.approx(dense.newton.length, rel=1e-2, abs=1e-15)
        assert few.newton.decrement == pytest.approx(dense.newton.decrement, rel=1e-3, abs=1e-17)
        # sampled in another space where the weights do not span all inputs
        factor = 3.0 if dense.reduction else 1.1
        assert 1 / factor <= few.newton.lipschitz / dense.newton.lipschitz <= factor
        assert few.newton.length >= dense.newton.length * (1 - 1e-6)  # a bound
        np.testing.assert_allclose(
            few.newton.step, dense.newton.step, rtol=1e-3, atol=1e-4 * dense.newton.length
        )


def test_what_lanczos_does_not_see_is_said():
    """Of 58 directions without curvature no more than 32 are asked for: then the others may be as
    flat.
    """
    neti, theta = wide_saddle(0.0)
    assert inf.classify(neti, theta, method="dense").kind is SADDLE
    found = inf.classify(neti, theta, method="lanczos")
    assert found.kind is NOT_CONVERGED and np.isinf(found.newton.beta) and "dense" in found.reason
    assert (
        len(found.unknown) == 2
        and found.unknown[1] in str(found)
        and found.to_dict()["unknown"] == found.unknown
    )


def test_small_networks_are_never_judged_from_a_few_eigenvalues():
    neti, theta = symmetric_saddle()
    assert inf.classify(neti, theta, method="lanczos").method == "dense"


def test_what_does_not_fit_in_memory_is_judged_from_products(monkeypatch):
    from infflow import memory

    net, theta = near_teacher("erf", 5, 500)
    monkeypatch.setattr(memory, "available_memory", lambda: 100 * 10**6)
    frozen = np.arange(len(theta)) == 0  # a part of a row, so that all inputs are needed
    found = inf.classify(net, theta, frozen=frozen, samples=1)
    assert found.kind is MINIMUM and found.method == "lanczos"
    with pytest.raises(inf.InfflowError, match=r'2505 parameters.*Use method="lanczos"'):
        inf.classify(net, theta, frozen=frozen, method="dense")


@pytest.mark.parametrize(
    ("method", "expected"), [("auto", ("dense", True)), ("lanczos", ("lanczos", False))]
)
def test_a_hundred_thousand_parameters_need_no_square_matrix(method, expected):
    import tracemalloc

    net, theta = near_teacher("erf", 2, 50_000)
    inf.loss(net, theta)
    tracemalloc.start()
    try:
        found = inf.classify(net, theta, samples=1, method=method)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.kind is MINIMUM and len(found.structure.roles) == 2
    assert (found.method, bool(found.reduction)) == expected
    assert peak < 2e8  # a matrix takes 8e10


def test_time_against_that_of_the_eigenvalues():
    """At most five times as long (measured: 2.4); processor time, since others work on
    the machine.
    """
    import time

    from infflow.threads import one_thread

    net, theta = near_teacher("tanh", 5, 299)  # 1500 parameters
    H = inf.hessian(net, theta)

    def seconds(work):
        taken = []
        for _ in range(2):
            start = time.process_time()
            work()
            taken.append(time.process_time() - start)
        return min(taken)

    with one_thread():
        assert seconds(lambda: inf.classify(net, theta)) < 5.0 * seconds(
            lambda: np.linalg.eigvalsh(H)
        )


def test_a_terminal_is_told_what_is_computed(monkeypatch):
    import io

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    net, theta = near_teacher("tanh", 3, 30)
    for progress, shown in ((True, ("Hessian", "eigenvalues", "products")), (False, ())):
        monkeypatch.setattr("sys.stderr", terminal := Terminal())
        inf.classify(net, theta, progress=progress)
        text = terminal.getvalue()
        assert all(word in text for word in shown) and bool(text) == progress
    monkeypatch.setattr("sys.stderr", silent := io.StringIO())
    inf.classify(net, theta)
    assert silent.getvalue() == ""
    monkeypatch.setattr("sys.stderr", None)
    inf.classify(net, theta)


@pytest.mark.parametrize(("rows", "columns"), [(40, 12), (12, 12), (5, 12), (8, 20), (0, 4)])
@pytest.mark.parametrize("rank", [0, 3, 5])
@pytest.mark.parametrize("spread", [0.0, 8.0])
def test_null_spaces(rows, columns, rank, spread):
    """Against their definition, for tables of known rank whose columns differ in length."""
    rng = np.random.default_rng(rank)
    rank = min(rank, rows, columns)
    table = rng.standard_normal((rows, rank)) @ rng.standard_normal((rank, columns))
    size = 10.0 ** rng.uniform(-spread / 2, spread / 2, columns)
    table = table * size
    null = null_space(table)
    assert nullity(table) == columns - rank
    assert null.shape[1] == columns - rank or spread > 0.0
    np.testing.assert_allclose(null.T @ null, np.eye(null.shape[1]), atol=1e-13)
    assert np.abs(table @ null).max(initial=0.0) <= 1e-9 * np.abs(table).max(initial=1e-300)


def test_flat_directions_of_few_samples_are_all_found():
    """With fewer samples than directions each of them changes no output to first order."""
    net, theta = near_teacher("relu", 3, 30, False, 25)
    found = inf.classify(net, theta)
    H = inf.hessian(net, theta)
    assert (
        found.kind is DEGENERATE
        and found.flat_dimension == net.num_params - np.linalg.matrix_rank(H, tol=1e-6)
    )
    assert Symmetry.ZERO_LOSS not in dimensions(found)


@pytest.mark.parametrize("nulls", [0, 3, 60, 150])
def test_null_spaces_of_sums_are_those_of_tall_tables(nulls):
    """Any dimension, columns of different lengths, few rows that see a direction."""
    rng = np.random.default_rng(nulls)
    m = 300
    table = rng.normal(size=(3000, m - nulls)) @ rng.normal(size=(m - nulls, m))
    table[:-2, 0] = 0.0
    table *= 10.0 ** rng.uniform(-3.0, 3.0, m)
    weights = rng.normal(size=(2, m + 5, len(table)))
    null = null_space_of_sums(weights[0] @ table, weights[1] @ table, 0)
    assert null.shape == null_space(table).shape
    np.testing.assert_allclose(null.T @ null, np.eye(null.shape[1]), atol=1e-12)
    lengths = np.linalg.norm(table, axis=0)
    assert np.abs(table @ null).max(initial=0.0) <= 1e-10 * lengths.max()


@pytest.mark.parametrize("layer", [0, 1])
def test_sums_of_samples_find_what_all_samples_find(layer, monkeypatch):
    """Neurons that are active on a few of many samples, or on all; without sums for comparison."""
    rng = np.random.default_rng(3)
    X = rng.normal(size=(3000, 4))
    net = inf.Net(
        [(9, "relu", True), (8, "relu", True), (3, "identity", True)],
        input=X,
        target=rng.normal(size=(3000, 3)),
    )
    theta = inf.random_params(net, 1)
    biases = net.unpack(theta)
    biases[0][1][:4] = [-3.5, -3.0, -2.5, 9.0]
    biases[1][1][:3] = [-4.0, -3.5, 9.0]
    found = []
    for tall in (1.5, np.inf):
        monkeypatch.setattr(pieces, "_TALL", tall)
        family = [
            each
            for each in families(net, theta)
            if each.symmetry is Symmetry.PIECEWISE_LINEAR and each.layer == layer
        ]
        found.append(family[0].directions)
    assert found[0].shape == found[1].shape
    inside = found[1].T @ found[0]
    np.testing.assert_allclose(inside.T @ inside, np.eye(inside.shape[1]), atol=1e-9)
