"""What a person at a notebook sees: pictures once, tables, short texts, bars and short errors."""

import re
import traceback

import matplotlib.pyplot as plt
import nbclient
import nbformat
import numpy as np
import pytest
from matplotlib.figure import Figure

import infflow as inf
from infflow import plotting, summary
from infflow.errors import InfflowError


@pytest.fixture(scope="module")
def net():
    student = inf.Net([(3, "erf", False), (1, "identity", False)], input_dim=20)
    teacher = inf.Net([(2, "erf", False), (1, "identity", False)], input_dim=20)
    return inf.NetI(student, inf.Teacher(teacher, inf.random_params(teacher, 1)))


@pytest.fixture(scope="module")
def result(net):
    return inf.train(net, inf.random_params(net, 2), t_end=30.0, progress=False)


# -- a real kernel ---------------------------------------------------------------------------------

CELLS = (
    """
    import infflow as inf
    from infflow import plotting
    net = inf.Net([(2, "erf", True), (1, "identity", True)], input=[[0.0], [1.0], [3.0]],
                  target=[0.0, 1.0, 0.0])
    theta0 = inf.random_params(net, rng=1)
    result = inf.train(net, theta0)
    """,
    "result",
    "result.plot()",
    "ax = result.plot()",
    "plotting.plot_loss(result, ax=ax)",
    "inf.hessian_spectrum(net, result.theta)",
    "inf.train(net, theta0, rtol=-1)",
)


@pytest.fixture(scope="module")
def cells():
    book = nbformat.v4.new_notebook()
    for source in CELLS:
        lines = "\n".join(line.removeprefix("    ") for line in source.strip("\n").splitlines())
        book.cells.append(nbformat.v4.new_code_cell(lines))
    client = nbclient.NotebookClient(book, timeout=120, kernel_name="python3", allow_errors=True)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("INFFLOW_QUIET", "INFFLOW_LONG_TRACEBACKS", "MPLBACKEND"):
            patch.delenv(name, raising=False)
        client.execute()
    return [cell.outputs for cell in book.cells]


def pictures(outputs):
    return sum("image/png" in output.get("data", {}) for output in outputs)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_a_notebook(cells):
    training, shown, plotted, kept, again, spectrum, error = cells
    # a bar of text where there is no widget
    assert any("loss" in output.get("text", "") or "data" in output for output in training)
    assert not any("Warning" in output.get("text", "") for output in training)
    (table,) = shown
    assert table.data["text/html"].count("<tr>") >= 5 and table.data["text/plain"].count("\n") < 6
    # once, whether the axes are kept or not, and not again where they are given
    assert pictures(plotted) == pictures(kept) == 1 and pictures(again) == 0
    assert "Spectrum: 7 eigenvalues" in spectrum[0].data["text/plain"]
    (error,) = error
    assert error.ename == "InvalidValueError" and "rtol is -1" in error.evalue
    text = re.sub(r"\x1b\[[\d;]*m", "", "\n".join(error.traceback))
    assert "inf.train(net, theta0, rtol=-1)" in text and ".py" not in text


# -- figures ---------------------------------------------------------------------------------------


def test_figures_belong_to_pyplot(net, result):
    for draw in (
        result.plot,
        lambda: plotting.plot_neurons(net, result),
        lambda: plotting.plot_integral("erf", points=5),
    ):
        before = plt.get_fignums()
        ax = draw()
        (number,) = set(plt.get_fignums()) - set(before)
        assert plt.figure(number) is ax.figure
    before = plt.get_fignums()
    own = Figure().add_subplot()
    assert plotting.plot_loss(result, ax=own) is own
    plotting.new_axes()
    with pytest.raises(InfflowError):
        plotting.plot_alignment(net.sample(100, 0), result)
    assert plt.get_fignums() == before


# -- texts and tables ------------------------------------------------------------------------------


def everything(net, result):
    yield result
    yield inf.train_many(net, [result.theta0] * 2, max_steps_flow=2, max_steps_newton=2)
    yield inf.classify(net, result.theta)
    yield inf.certify(net, result.theta)
    yield inf.overlaps(net, result.theta)
    yield inf.hessian_spectrum(net, result.theta)
    yield inf.hessian_eigenvalues(net, result.theta)
    yield inf.extreme_eigenpairs(net, result.theta, k=2)
    yield inf.spectral_density(net, result.theta, probes=2, steps=10)


def test_tables_and_texts(net, result):
    for each in everything(net, result):
        page = each._repr_html_()
        assert page.startswith("<div><strong>") and page.endswith("</table></div>"), type(each)
        for tag in ("table", "tr", "th", "td", "div"):
            assert page.count(f"<{tag}>") + page.count(f"<{tag} ") == page.count(f"</{tag}>")
        lines = repr(each).splitlines()
        assert len(lines) <= 20 and max(map(len, lines)) < 400, type(each)
    values, _ = inf.hessian_spectrum(net, result.theta)  # it still is a tuple
    text = repr(inf.hessian_spectrum(net, result.theta))
    assert f"{len(values)} eigenvalues" in text and f"{values[0]:.4g}" in text
    assert f"{(values < 0).sum()} negative" in text and "(63, 63)" in text


def test_a_branch_shows_its_events():
    class Fold:
        num_params = 1

        def __init__(self, parameter):
            self.parameter = parameter

        def evaluate(self, theta, order=0):
            x = theta[0]
            value = x**3 / 3 + self.parameter * x
            return inf.Evaluation(value, np.array([x * x + self.parameter]), np.array([[2 * x]]))

    branch = inf.continuation(Fold, [1.0], -1.0, 1.0)
    page = branch._repr_html_()
    assert ">fold<" in page and ">end<" in page and page.count("<table>") == 2


def test_what_is_shown_is_escaped_and_cut():
    class Shown:
        def _summary(self):
            rows = [("a", "<b> & c"), ("matrix", np.arange(1e4).reshape(100, 100)), ("x", 1 / 3)]
            return summary.Summary("a < b", rows, ("n",), summary.cut((k,) for k in range(100)))

    shown = summary.as_text_and_table(Shown)()
    page = shown._repr_html_()
    assert "&lt;b&gt; &amp; c" in page and "a &lt; b" in page and "0.333333" in page
    assert page.count("<tr>") == 3 + 1 + 12
    assert len(repr(shown).splitlines()) == 1 + 1 + 7 + 1 and "shape (100, 100)" in repr(shown)


# -- errors ----------------------------------------------------------------------------------------


def lines_of(function):
    with pytest.raises(InfflowError) as caught:
        function()
    return [frame.filename for frame in traceback.extract_tb(caught.value.__traceback__)]


def test_errors_are_raised_where_the_reader_called(monkeypatch, net, result):
    def wrong():
        inf.train(net, result.theta0, rtol=-1.0)

    def wrong_function():
        def observable(theta):
            return inf.loss(net, theta[:3])

        inf.train(net, result.theta0, observables={"f": observable}, reduce=False, progress=False)

    monkeypatch.setenv("INFFLOW_LONG_TRACEBACKS", "1")
    assert len(lines_of(wrong)) > 3
    monkeypatch.delenv("INFFLOW_LONG_TRACEBACKS")
    assert all(name == __file__ for name in lines_of(wrong))
    # a function of the reader is seen, and how it came to be called
    seen = lines_of(wrong_function)
    assert seen[-1] == __file__ and any(name.endswith("training.py") for name in seen)
