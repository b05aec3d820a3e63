"""Traceable predictors against scikit-learn, numpy and finite differences."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression, Ridge

from dvrl.padding import pad
from dvrl.predictors.linear import LinearPredictor
from dvrl.predictors.mlp import MLPPredictor
from dvrl.predictors.traceable import final_form, fit_traceable, named_predictor

N_ROWS, N_FEATURES = 120, 5
HYPER = {"inner_learning_rate": jnp.float32(0.1), "l2": jnp.float32(2.0)}


def class_data(n_classes, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(n_classes, size=N_ROWS)
    X = rng.normal(size=(N_ROWS, N_FEATURES)) + np.eye(n_classes, N_FEATURES)[labels]
    weights = rng.random((2, N_ROWS))
    weights[1, ::3] = 0.0
    return X.astype(np.float32), labels, weights.astype(np.float32)


def fitted_scores(predictor, X, Y, weights, X_new, hyper=HYPER, start=None):
    if start is None:
        start = predictor.init(np.random.default_rng(0), X.shape[1], 0, Y.shape[1])
    params = predictor.fit(
        start, X, Y, jnp.asarray(weights), jnp.ones(len(X)), jax.random.key(0), hyper
    )
    scores = jax.vmap(lambda params: predictor.scores(params, X_new, Y.shape[1]))(params)
    return np.asarray(scores), params


@pytest.mark.parametrize("n_classes", [2, 4])
def test_solved_classifiers_are_scikit_learns(n_classes):
    X, labels, weights = class_data(n_classes)
    Y = np.eye(n_classes, dtype=np.float32)[labels]
    scores, _ = fitted_scores(LinearPredictor(), X, Y, weights, X)
    for own, row_weights in zip(scores, weights, strict=True):
        theirs = LogisticRegression(C=1 / 2.0, tol=1e-8, max_iter=5000).fit(
            X, labels, sample_weight=row_weights
        )
        # Ours keeps a penalty of .001 on the intercept.
        np.testing.assert_allclose(own, theirs.predict_proba(X), atol=2e-3)


def test_solved_regressors_are_scikit_learns():
    X, _, weights = class_data(2)
    y = X @ np.arange(N_FEATURES) + 3.0 + np.random.default_rng(1).normal(size=N_ROWS)
    Y = y[:, None].astype(np.float32)
    scores, _ = fitted_scores(LinearPredictor(), X, Y, weights, X)
    for own, row_weights in zip(scores, weights, strict=True):
        theirs = Ridge(alpha=2.0).fit(X, y, sample_weight=row_weights)
        np.testing.assert_allclose(own[:, 0], theirs.predict(X), rtol=2e-3, atol=2e-2)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_solved_fit_does_not_depend_on_its_start_or_on_padding(n_classes):
    X, labels, weights = class_data(n_classes)
    Y = np.eye(n_classes, dtype=np.float32)[labels]
    predictor = LinearPredictor(tolerance=1e-6)
    expected, params = fitted_scores(predictor, X, Y, weights, X)
    far = jax.tree.map(lambda leaf: leaf[0] + 1.0, params)
    again, _ = fitted_scores(predictor, X, Y, weights, X, start=far)
    np.testing.assert_allclose(again, expected, atol=1e-4)
    each = jax.tree.map(lambda leaf: leaf[::-1], params)  # one start per selection
    again, _ = fitted_scores(predictor, X, Y, weights, X, start=each)
    np.testing.assert_allclose(again, expected, atol=1e-4)

    wide, tall = pad(X, 128, 8), pad(Y, 128)
    start = predictor.init(np.random.default_rng(0), N_FEATURES, 3, n_classes)
    mask = pad(np.ones(N_ROWS, np.float32), 128)
    padded = predictor.fit(
        start, wide, tall, pad(weights.T, 128).T, mask, jax.random.key(0), HYPER
    )  # fmt: skip
    scores = jax.vmap(lambda params: predictor.scores(params, wide, n_classes))(padded)
    np.testing.assert_allclose(np.asarray(scores)[:, :N_ROWS], expected, atol=1e-4)


def test_solved_fits_of_many_unlike_selections():
    """The shared preconditioner must serve selections that differ a lot."""
    X, labels, _ = class_data(2)
    X[:, 4] = np.arange(N_ROWS) % 40 == 0  # a category of three rows
    Y = np.eye(2, dtype=np.float32)[labels]
    rng = np.random.default_rng(0)
    weights = (rng.random((32, N_ROWS)) < rng.random((32, 1))).astype(np.float32)
    together, _ = fitted_scores(LinearPredictor(tolerance=1e-6), X, Y, weights, X)
    for index in range(0, 32, 8):
        alone, _ = fitted_scores(
            LinearPredictor(tolerance=1e-6), X, Y, weights[index : index + 1], X
        )
        np.testing.assert_allclose(together[index], alone[0], atol=1e-4)


def test_selections_without_rows_or_of_one_class_have_a_finite_fit():
    X, labels, _ = class_data(3)
    Y = np.eye(3, dtype=np.float32)[labels]
    weights = np.stack([np.zeros(N_ROWS), labels == 1]).astype(np.float32)
    scores, _ = fitted_scores(LinearPredictor(), X, Y, weights, X)
    np.testing.assert_allclose(scores[0], 1 / 3, atol=1e-5)
    assert (scores[1].argmax(axis=1) == 1).all()


# --- mini-batches -------------------------------------------------------------------------------


def test_mini_batches_of_all_rows_are_gradient_descent():
    """With the batch size of the table every step sees all rows: plain descent in numpy."""
    X, labels, weights = class_data(2)
    Y = np.eye(2, dtype=np.float32)[labels]
    predictor = LinearPredictor(steps=25, batch_size=N_ROWS, optimizer="sgd")
    scores, _ = fitted_scores(predictor, X, Y, weights, X)
    for own, row_weights in zip(scores, weights, strict=True):
        coefficients, intercept = np.zeros(N_FEATURES), 0.0
        for _ in range(25):
            residual = row_weights * (expit(X @ coefficients + intercept) - labels) / N_ROWS
            coefficients = coefficients - 0.1 * (X.T @ residual + 2.0 / N_ROWS * coefficients)
            intercept = intercept - 0.1 * (residual.sum() + 2.0 / N_ROWS * intercept)
        np.testing.assert_allclose(own[:, 1], expit(X @ coefficients + intercept), atol=1e-5)


def test_selections_share_their_mini_batches():
    X, labels, weights = class_data(2)
    Y = np.eye(2, dtype=np.float32)[labels]
    for predictor in (LinearPredictor(steps=30, batch_size=16), MLPPredictor(steps=5)):
        twice, _ = fitted_scores(predictor, X, Y, np.stack([weights[0]] * 2), X)
        np.testing.assert_allclose(twice[0], twice[1], atol=1e-6)


def test_rows_of_no_weight_do_not_matter():
    X, labels, weights = class_data(2)
    Y = np.eye(2, dtype=np.float32)[labels]
    wrong = Y.copy()
    wrong[::3] = wrong[::3, ::-1]  # weights[1] is zero there
    for predictor in (LinearPredictor(), LinearPredictor(steps=20, batch_size=16), MLPPredictor(5)):
        right, _ = fitted_scores(predictor, X, Y, weights[1:], X)
        other, _ = fitted_scores(predictor, X, wrong, weights[1:], X)
        np.testing.assert_allclose(right, other, atol=1e-6)


def test_mlp_learns_what_no_line_can():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, size=(300, 2)).astype(np.float32)
    labels = (X[:, 0] * X[:, 1] > 0).astype(int)
    Y = np.eye(2, dtype=np.float32)[labels]
    mlp = final_form(
        named_predictor("mlp", "classification", steps=100, batch_size=64, optimizer="adam"), 300
    )
    fitted = fit_traceable(mlp, X, Y, np.ones(300, np.float32), learning_rate=1e-2, l2=0.0)
    assert np.mean(fitted.scores(X).argmax(axis=1) == labels) > 0.95
    line = fit_traceable(LinearPredictor(), X, Y, np.ones(300, np.float32))
    assert np.mean(line.scores(X).argmax(axis=1) == labels) < 0.7


def test_mlp_regressor_fits_a_parabola():
    X = np.linspace(-1, 1, 200, dtype=np.float32)[:, None]
    Y = 2 * X**2 - 1
    mlp = final_form(
        named_predictor("mlp", "regression", steps=100, batch_size=64, optimizer="adam"), 200
    )
    fitted = fit_traceable(mlp, X, Y, np.ones(200, np.float32), learning_rate=1e-2, l2=0.0)
    assert np.mean((fitted.scores(X) - Y) ** 2) < 0.02 * np.var(Y)


# --- the gradient through the fit ---------------------------------------------------------------


def reward_of_weights(predictor, X, Y, X_new, Y_new, start, weights):
    params = predictor.fit(start, X, Y, weights[None], jnp.ones(len(X)), jax.random.key(0), HYPER)
    params = jax.tree.map(lambda leaf: leaf[0], params)
    scores = predictor.scores(params, X_new, Y.shape[1])
    if Y.shape[1] == 1:
        return -jnp.mean((scores - Y_new) ** 2)
    return jnp.mean(jnp.sum(Y_new * jnp.log(scores), axis=1))


@pytest.mark.parametrize(
    ("predictor", "n_outputs"),
    [
        (LinearPredictor(tolerance=1e-7), 2),
        (LinearPredictor(tolerance=1e-7), 3),
        (LinearPredictor(tolerance=1e-7), 1),
        (LinearPredictor(steps=20, batch_size=32), 2),
        (LinearPredictor(steps=20, batch_size=32, optimizer="adam"), 2),
    ],
    ids=["binary", "softmax", "ridge", "sgd", "adam"],
)
def test_gradient_through_the_fit_against_finite_differences(predictor, n_outputs):
    X, labels, weights = class_data(max(n_outputs, 2))
    X_new, labels_new, _ = class_data(max(n_outputs, 2), seed=1)
    if n_outputs == 1:
        Y, Y_new = (x[:, :1] - x[:, 1:2] ** 2 for x in (X, X_new))
    else:
        Y, Y_new = (np.eye(n_outputs, dtype=np.float32)[each] for each in (labels, labels_new))
    X, Y, X_new, Y_new = map(jnp.asarray, (X, Y, X_new, Y_new))
    start = predictor.init(np.random.default_rng(0), N_FEATURES, 0, n_outputs)
    reward = jax.jit(partial(reward_of_weights, predictor, X, Y, X_new, Y_new, start))
    base = jnp.asarray(0.2 + 0.6 * weights[0])
    gradient = np.asarray(jax.jit(jax.grad(reward))(base))
    # Along random directions; float32 rewards want long steps, and central differences allow them.
    rng = np.random.default_rng(2)
    for _ in range(5):
        direction = rng.normal(size=N_ROWS).astype(np.float32)
        step = 0.02
        numeric = (reward(base + step * direction) - reward(base - step * direction)) / (2 * step)
        assert gradient @ direction == pytest.approx(
            float(numeric), rel=0.05, abs=0.02 * float(np.linalg.norm(gradient))
        )


# --- names and starts ---------------------------------------------------------------------------


def test_names():
    with pytest.raises(ValueError, match="unknown for regression"):
        named_predictor("logistic", "regression", steps=None, batch_size=8, optimizer="sgd")
    with pytest.raises(ValueError, match="whole number"):
        named_predictor("mlp", "classification", steps=None, batch_size=8, optimizer="adam")


def test_mini_batches_go_on_from_a_pretrained_state():
    X, labels, _ = class_data(2)
    Y = np.eye(2, dtype=np.float32)[labels]
    full = np.ones((1, N_ROWS), np.float32)
    solved, params = fitted_scores(LinearPredictor(), X, Y, full, X)
    start = jax.tree.map(lambda leaf: leaf[0], params)
    few = LinearPredictor(steps=3, batch_size=N_ROWS)
    from_zero, _ = fitted_scores(few, X, Y, full, X)
    from_solved, _ = fitted_scores(few, X, Y, full, X, start=start)
    assert np.abs(from_solved - solved).max() < 0.1 * np.abs(from_zero - solved).max()
