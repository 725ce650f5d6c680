"""The SVR solver against scipy, scikit-learn and its own certificate.

Everything is float64 inside, so the tolerances are those of the optimum, not of the arithmetic: a
relative gap g lets coefficients be off by about sqrt(g), hence the cosines; objectives computed in
NumPy must agree with the reported ones to 1e-9.
"""

import warnings

import jax
import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.exceptions import ConvergenceWarning, FitFailedWarning
from sklearn.model_selection import GridSearchCV
from sklearn.svm import SVR
from sklearn.svm import LinearSVR as SklearnLinearSVR
from sklearn.utils._param_validation import InvalidParameterError
from sklearn.utils.estimator_checks import parametrize_with_checks

from emojax.runtime.errors import UserError
from emojax.svr import LinearSVR, SVRConfig, fit_svr

LOSSES = ("epsilon_insensitive", "squared_epsilon_insensitive")
INTERCEPTS = ("penalised", "free", "none")


def softmax_problem(rows, width, targets=8, condition=1e5, seed=0):
    """Float32 rows of ill-conditioned covariance; softmax targets of which two dominate."""
    rng = np.random.default_rng(seed)
    deviations = np.logspace(0, -np.log10(condition) / 2, width)
    rotation = np.linalg.qr(rng.standard_normal((width, width)))[0]
    white = rng.standard_normal((rows, width))
    x = (white * deviations) @ rotation + 0.3 * rng.standard_normal(width)
    logits = white @ rng.standard_normal((width, targets)) / np.sqrt(width)
    logits += 0.5 * rng.standard_normal((rows, targets))
    logits += np.array([3, 2.5, 0, 0, -0.5, -1, -1, -1.5])[:targets]
    probabilities = np.exp(logits)
    return x.astype(np.float32), probabilities / probabilities.sum(axis=1, keepdims=True)


def objective(x, y, coef, intercept, config, weight=1.0):
    """Return the objective of one target as stated in scikit-learn's documentation."""
    excess = np.maximum(np.abs(y - x.astype(np.float64) @ coef - intercept) - config.epsilon, 0)
    loss = excess if config.loss == "epsilon_insensitive" else excess**2
    penalty = coef @ coef
    if config.intercept == "penalised":
        penalty += (intercept / config.intercept_scaling) ** 2
    return 0.5 * penalty + config.C * np.sum(weight * loss)


def cosine(a, b):
    return a @ b / np.sqrt((a @ a) * (b @ b))


def scipy_reference(x, y, config):
    """Coefficients and intercept by SLSQP on the constrained problem in (w, b, excesses)."""
    n, d = x.shape
    z = np.hstack([x.astype(np.float64), np.ones((n, 1)), np.zeros((n, n))])
    penalty = {"penalised": config.intercept_scaling**-2, "free": 0.0, "none": 1.0}
    metric = np.append(np.ones(d), penalty[config.intercept])
    squared = config.loss != "epsilon_insensitive"

    def value(u):
        loss = u[d + 1 :] @ u[d + 1 :] if squared else u[d + 1 :].sum()
        return 0.5 * metric @ u[: d + 1] ** 2 + config.C * loss

    def gradient(u):
        loss = 2 * u[d + 1 :] if squared else np.ones(n)
        return np.concatenate([metric * u[: d + 1], config.C * loss])

    slack = np.hstack([np.zeros((n, d + 1)), np.eye(n)])
    above, below = slack - z, slack + z  # excess + epsilon -+ (y - prediction) >= 0
    constraints = [
        {"type": "ineq", "fun": lambda u: above @ u + y + config.epsilon, "jac": lambda u: above},
        {"type": "ineq", "fun": lambda u: below @ u - y + config.epsilon, "jac": lambda u: below},
    ]
    unbounded = (None, None)
    intercept = (0, 0) if config.intercept == "none" else unbounded
    result = minimize(
        value,
        np.concatenate([np.zeros(d + 1), np.abs(y)]),
        jac=gradient,
        bounds=[unbounded] * d + [intercept] + [(0, None)] * n,
        constraints=constraints,
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    # 8: no descent left in the line search, where it ends at full accuracy
    assert result.status in (0, 8), result.message
    return result.x[:d], result.x[d]


@pytest.fixture(scope="module")
def small():
    x, y = softmax_problem(50, 4, 3, condition=100)
    return x, y


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("intercept", INTERCEPTS)
@pytest.mark.parametrize("epsilon", [0.0, 0.05])
def test_scipy_finds_the_same_optimum(small, loss, intercept, epsilon):
    x, y = small
    config = SVRConfig(loss, 3.0, epsilon, intercept, intercept_scaling=2.0, tol=1e-9)
    fit = fit_svr(x, y, config)
    assert fit.converged.all()
    assert (fit.gap <= 1e-9).all()
    for target in range(y.shape[1]):
        coef, b = scipy_reference(x, y[:, target], config)
        ours = objective(x, y[:, target], fit.coef[target], fit.intercept[target], config)
        theirs = objective(x, y[:, target], coef, b, config)
        np.testing.assert_allclose(ours, fit.primal[target], rtol=1e-9)
        np.testing.assert_allclose(ours, theirs, rtol=1e-7)  # SLSQP's own accuracy
        assert cosine(fit.coef[target], coef) >= 0.9999
        np.testing.assert_allclose(fit.intercept[target], b, atol=1e-3)


@pytest.mark.parametrize("loss", LOSSES)
def test_ill_conditioned_softmax_targets(loss):
    x, y = softmax_problem(3000, 64)
    config = SVRConfig(loss=loss, tol=1e-6)
    fit = fit_svr(x, y, config)
    assert fit.converged.all()
    assert (fit.gap <= 1e-6).all()
    theirs = SklearnLinearSVR(loss=loss, max_iter=300, random_state=0, dual=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        theirs.fit(x, y[:, 0])
    bound = objective(x, y[:, 0], theirs.coef_, theirs.intercept_, config)
    assert fit.primal[0] <= bound
    assert fit.dual[0] <= bound  # weak duality, with a primal point of another solver
    # the certificate can fail: coefficients 1 % off the optimum exceed the tolerance
    worse = objective(x, y[:, 0], 1.01 * fit.coef[0], fit.intercept[0], config)
    assert (worse - fit.dual[0]) / worse > 1e-6


def test_free_intercept_is_libsvm():
    x, y = softmax_problem(250, 4, 3, condition=1e3)
    config = SVRConfig(C=2.0, epsilon=0.1, intercept="free", tol=1e-9)
    fit = fit_svr(x, y, config)
    for target in range(3):
        theirs = SVR(kernel="linear", C=2.0, epsilon=0.1, tol=1e-8).fit(x, y[:, target])
        coef, b = theirs.coef_[0], theirs.intercept_[0]
        assert fit.primal[target] <= objective(x, y[:, target], coef, b, config) * (1 + 1e-9)
        assert cosine(fit.coef[target], coef) >= 0.9999


@pytest.mark.parametrize("loss", LOSSES)
def test_rows_on_several_devices_or_in_host_memory_change_nothing(loss):
    x, y = softmax_problem(999, 4, 3, condition=100)
    config = SVRConfig(loss=loss, epsilon=0.02, tol=1e-8)
    everywhere = fit_svr(x, y, config)
    one = fit_svr(x, y, config, devices=jax.devices()[:1])
    streamed = fit_svr(x, y, config, stream_rows=300)
    on_device = fit_svr(jax.device_put(x), y, config)
    for other in (one, streamed, on_device):
        assert other.converged.all()
        np.testing.assert_allclose(other.primal, everywhere.primal, rtol=2e-8)
        np.testing.assert_allclose(other.coef, everywhere.coef, atol=1e-3)


def test_stopping_early_is_said(small, caplog):
    x, y = small
    fit = fit_svr(x, y, SVRConfig(tol=1e-9, max_iter=2))
    assert not fit.converged.all()
    assert fit.gap.max() > 1e-9
    assert "duality gap" in caplog.text


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("intercept", INTERCEPTS)
def test_degenerate_rows(small, loss, intercept):
    """Constant, zero and repeated features, and repeated rows: as many as a weight of two."""
    x, y = small
    x = np.hstack([x, np.ones_like(x[:, :1]), np.zeros_like(x[:, :1]), x[:, :1]])
    config = SVRConfig(loss, intercept=intercept, epsilon=0.01, tol=1e-8)
    fit = fit_svr(np.repeat(x, 2, axis=0), np.repeat(y, 2, axis=0), config)
    weighted = fit_svr(x, y, config, sample_weight=np.full(len(x), 2.0))
    assert fit.converged.all()
    assert weighted.converged.all()
    np.testing.assert_allclose(fit.primal, weighted.primal, rtol=2e-8)
    np.testing.assert_allclose(fit.coef[:, 0], fit.coef[:, -1], atol=1e-6)
    np.testing.assert_allclose(fit.coef[:, -2], 0, atol=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("intercept", INTERCEPTS)
@pytest.mark.parametrize("rows", [1, 6])
def test_fewer_rows_than_features(loss, intercept, rows):
    x, y = softmax_problem(rows, 7, 3)
    fit = fit_svr(x, y, SVRConfig(loss, intercept=intercept, tol=1e-8))
    assert fit.converged.all()


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("intercept", INTERCEPTS)
@pytest.mark.parametrize("epsilon", [0.0, 0.1])
def test_equal_targets(small, loss, intercept, epsilon):
    x, _ = small
    y = np.full((len(x), 3), [0.7, 0.0, 0.7])
    fit = fit_svr(x, y, SVRConfig(loss, intercept=intercept, epsilon=epsilon, tol=1e-6))
    assert fit.converged.all()
    np.testing.assert_allclose(fit.coef[1], 0, atol=1e-9)
    np.testing.assert_allclose(fit.primal[1], 0, atol=1e-12)
    if intercept == "free":
        np.testing.assert_allclose(fit.coef[0], 0, atol=1e-6)
        np.testing.assert_allclose(fit.intercept[0], 0.7, atol=epsilon + 1e-6)


def test_float32_rows_far_from_the_origin():
    x, y = softmax_problem(250, 4, 3, condition=10)
    far = (x + np.float32(1000)).astype(np.float32)
    config = SVRConfig(intercept="free", tol=1e-7)
    exact = fit_svr(far.astype(np.float64) - 1000, y, config)
    fit = fit_svr(far, y, config)
    assert fit.converged.all()
    np.testing.assert_allclose(fit.primal, exact.primal, rtol=2e-7)


def test_nearly_singular_float32_rows_go_on_in_float64(caplog):
    x, y = softmax_problem(250, 4, 3, condition=1e12)
    with caplog.at_level("DEBUG", logger="emojax"):
        fit = fit_svr(x, y, SVRConfig(C=1e6, tol=1e-6))
    assert fit.converged.all()
    assert "going on in float64" in caplog.text


def test_bad_input_is_named(small):
    x, y = small
    holed = x.copy()
    holed[7, 2] = np.nan
    with pytest.raises(
        UserError, match="x holds NaN or infinity in 1 of its columns, first in column 2"
    ):
        fit_svr(holed, y)
    target = y.copy()
    target[3, 1] = np.inf
    with pytest.raises(UserError, match="y holds NaN or infinity, first in row 3, column 1"):
        fit_svr(x, target)
    with pytest.raises(UserError, match=r"x is \(50, 4\) and y \(49, 3\)"):
        fit_svr(x, y[:-1])
    with pytest.raises(UserError, match="sample_weight"):
        fit_svr(x, y, sample_weight=-np.ones(50))


@pytest.mark.parametrize(
    ("option", "value"),
    [("C", 0.0), ("epsilon", -0.1), ("tol", 0.0), ("loss", "hinge"), ("intercept", True)],
)
def test_bad_options_are_named(option, value):
    with pytest.raises(UserError, match=f"{option} is {value!r}"):
        SVRConfig(**{option: value})


def test_estimator_is_the_solver(small):
    x, y = small
    model = LinearSVR(epsilon=0.05, penalise_intercept=False, tol=1e-8).fit(x, y)
    fit = fit_svr(x, y, SVRConfig(epsilon=0.05, intercept="free", tol=1e-8))
    np.testing.assert_array_equal(model.coef_, fit.coef)
    np.testing.assert_allclose(model.predict(x), x @ fit.coef.T + fit.intercept, rtol=1e-12)
    one = LinearSVR(fit_intercept=False).fit(x, y[:, 0])
    assert one.coef_.shape == (4,)
    assert one.predict(x).shape == (50,)
    assert one.intercept_ == 0.0


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("C", -1),
        ("C", np.inf),
        ("epsilon", -0.1),
        ("tol", 0.0),
        ("loss", "hinge"),
        ("fit_intercept", "yes"),
        ("intercept_scaling", 0),
        ("max_iter", 0),
    ],
)
def test_estimator_refuses_parameters_in_fit_as_scikit_learn_does(small, option, value):
    model = LinearSVR(**{option: value})  # no validation here: `clone` and `set_params` need that
    with pytest.raises(InvalidParameterError, match=f"The '{option}' parameter of LinearSVR"):
        model.fit(*small)
    assert issubclass(InvalidParameterError, ValueError)


def test_grid_search_passes_over_refused_parameters(small):
    x, y = small
    search = GridSearchCV(LinearSVR(), {"C": [-1.0, 1.0]}, cv=2, error_score=np.nan)
    with pytest.warns((FitFailedWarning, UserWarning)):  # of the fit, and of its missing score
        search.fit(X=x, y=y)
    assert search.best_params_ == {"C": 1.0}


def test_estimator_takes_its_arguments_by_scikit_learns_names(small):
    x, y = small
    model = LinearSVR().fit(X=x, y=y)
    assert model.predict(X=x).shape == y.shape
    with pytest.raises(ValueError, match="contains NaN"):
        model.fit(X=x * np.nan, y=y)


# Fits with weights and with repeated rows are compared to 1e-7 of the predictions: hence the gap.
@parametrize_with_checks([LinearSVR(tol=1e-12)])
def test_scikit_learn_estimator_checks(estimator, check):
    check(estimator)
